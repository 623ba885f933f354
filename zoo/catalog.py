"""The whole zoo on one page: one row for each variant that `zoo.create` builds.

Parameter counts come from the papers or torchvision, or are counted by hand; the tests recount
them. Nothing here imports Keras: the page answers questions about text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

# Kinds of learning, each a file of `zoo.tasks`; `task.kind` of a recipe is one of them.
TASKS = {
    "classify": "zoo.tasks.labels.classify:Classify",
    "glimpses": "zoo.tasks.labels.glimpses:Glimpses",
    "binary": "zoo.tasks.labels.binary:Binary",
    "regress": "zoo.tasks.labels.regress:Regress",
    "a2c": "zoo.tasks.agents.a2c:A2C",
    "ppo": "zoo.tasks.agents.ppo:PPO",
    "reinforce": "zoo.tasks.agents.reinforce:Reinforce",
    "dqn": "zoo.tasks.agents.dqn:DQN",
    "language": "zoo.tasks.words.language:Language",
    "word2vec": "zoo.tasks.words.word2vec:Word2Vec",
    "glove": "zoo.tasks.words.glove:GloVe",
    "forecast": "zoo.tasks.sequences.forecast:Forecast",
    "segment": "zoo.tasks.places.segment:Segment",
    "detect": "zoo.tasks.places.detect:Detect",
    "ellipse": "zoo.tasks.places.ellipse:EllipseTask",
    "pose": "zoo.tasks.places.pose:Pose",
    "localise": "zoo.tasks.places.localise:Localise",
    "caption": "zoo.tasks.words.caption:Caption",
    "translate": "zoo.tasks.words.translate:Translate",
    "dense_caption": "zoo.tasks.words.dense_caption:DenseCaption",
    "autoencoder": "zoo.tasks.latent.autoencoder:Autoencoder",
    "vae": "zoo.tasks.latent.vae:VAE",
    "gan": "zoo.tasks.games.gan:GAN",
    "fast_style": "zoo.tasks.fast_style:FastStyle",
    "super_resolution": "zoo.tasks.super_resolution:SuperResolution",
    "wgan_gp": "zoo.tasks.games.wgan_gp:WGANGP",
    "attributes": "zoo.tasks.latent.attributes:Attributes",
    "sum_product": "zoo.tasks.spn:SumProduct",
    "rbm": "zoo.tasks.boltzmann.rbm:RBM",
    "dbn": "zoo.tasks.boltzmann.dbn:DBN",
    "autoregressive": "zoo.tasks.pixel_nets.autoregressive:Autoregressive",
    "transcribe": "zoo.tasks.sequences.transcribe:Transcribe",
    "segment_lattice": "zoo.tasks.sequences.segment_lattice:SegmentLattice",
    "multi_scale": "zoo.tasks.pixel_nets.multi_scale:MultiScale",
    "recall": "zoo.tasks.sequences.recall:Recall",
    "tree": "zoo.tasks.sequences.tree:Tree",
    "inference": "zoo.tasks.sequences.inference:Inference",
    "devise": "zoo.tasks.labels.devise:DeViSE",
    "traits": "zoo.tasks.labels.traits:Traits",
}
VECTOR = ("classify", "binary", "regress")  # take one vector of outputs: any of them fits


class Architecture(NamedTuple):
    """One variant of an architecture, and the facts of its paper.

    Attributes:
        name: What users type.
        title: What people call it.
        parameters: Trainable parameters at `input_shape` and `num_classes`.
        settings: The builder's keyword arguments that make this variant.
        builder: The function that builds it, `module:function`.
        task: The kind of learning, a key of `TASKS`; the recipe or the data may ask for another.
        paper: Short citation, with the arXiv number or the journal.
        year: When the paper appeared.
        input_shape: The paper's input, (height, width, channels); (features,) for a table's rows;
            (time,) of a text; (time, features) of a signal.
        num_classes: The paper's number of classes; 1 for a number, for a yes or no, or where there
            are none; tokens of a vocabulary; actions.
        smallest: The smallest height and width that work, in pixels.
        recipe: The training recipe, a file of `zoo/recipes` without its ending.
    """

    name: str
    title: str
    parameters: int
    settings: dict[str, Any]
    builder: str
    task: str
    paper: str
    year: int
    input_shape: tuple[int, ...]
    num_classes: int
    smallest: int
    recipe: str


OWN = Architecture(
    name="own",
    title="A model that the zoo has not made",
    parameters=0,
    settings={},
    builder="",
    task="classify",
    paper="of one's own",
    year=0,
    input_shape=(),
    num_classes=1,
    smallest=1,
    recipe="",
)
"""What a recipe calls a model that was brought as a file; it cannot be built."""


def find_architecture(name: str) -> Architecture:
    """Returns the row called `name`.

    Raises:
        ValueError: There is no such row; the line suggests one.
    """
    if name in CATALOG:
        return CATALOG[name]
    if name == OWN.name:
        return OWN

    from zoo.common.settings import nearest

    # Two swapped characters are a likelier slip than a wrong one.
    swapped = [known for known in CATALOG if sorted(known) == sorted(name)]
    raise ValueError(f"unknown model {name!r}. {nearest(name, swapped or CATALOG)}")


def usual_task(architecture: Architecture, kinds: tuple[str, ...]) -> str:
    """Returns the kind of learning of an architecture on data whose columns are of these kinds.

    It is the row's, unless the row takes any vector of outputs and the data want another one:
    numbers, or classes where the row's is of numbers.
    """
    task = architecture.task
    if task in VECTOR and "number" in kinds:
        return "regress"
    return "classify" if task == "regress" and "class" in kinds else task


READ_AS = ("_fpn", "_c4")  # how a detector reads its trunk: as a pyramid, or split at its stage 4


def trained_row(architecture: Architecture, settings: Mapping[str, Any]) -> Architecture:
    """Returns the row whose trained weights an architecture starts from: its trunk's, or its own.

    Args:
        architecture: A row.
        settings: The builder's, which go before the row's.

    Raises:
        ValueError: The trunk is unknown.
    """
    trunk = {**architecture.settings, **settings}.get("trunk") or "scenes"
    if trunk == "scenes":  # a detector's own
        return architecture
    for ending in READ_AS:
        trunk = str(trunk).removesuffix(ending)
    return find_architecture(trunk)


# What a family shares is said once; its rows say what makes each one different.
_a2c = partial(
    Architecture,
    builder="zoo.models.policy:actor_critic",
    task="a2c",
    paper="Mnih et al., arXiv:1602.01783",
    year=2016,
    input_shape=(4,),
    num_classes=2,
    smallest=1,
    recipe="a2c",
)
_ppo = partial(_a2c, task="ppo", paper="Schulman et al., arXiv:1707.06347", year=2017, recipe="ppo")
_reinforce = partial(
    _a2c, task="reinforce", paper="Williams, Machine Learning 8", year=1992, recipe="reinforce"
)
_dqn = partial(
    _a2c,
    builder="zoo.models.policy:q_network",
    task="dqn",
    paper="Mnih et al., Nature 518",
    year=2015,
    recipe="dqn",
)
_ram = partial(
    Architecture,
    builder="zoo.models.ram:ram",
    task="glimpses",
    paper="Mnih et al., arXiv:1406.6247",
    year=2014,
    input_shape=(28, 28, 1),
    num_classes=10,
    smallest=8,
    recipe="ram",
)
_linear = partial(
    Architecture,
    builder="zoo.models.linear:linear",
    task="classify",
    paper="LeCun et al., Proc. IEEE 86(11)",
    year=1998,
    input_shape=(28, 28, 1),
    num_classes=10,
    smallest=1,
    recipe="linear",
)
_perceptron = partial(
    _linear,
    task="binary",
    paper="Rosenblatt, Psychological Review 65(6)",
    year=1958,
    input_shape=(20, 20, 1),
    num_classes=1,
    recipe="perceptron",
)
_logistic = partial(
    _linear,
    task="binary",
    paper="Cox, J. R. Stat. Soc. B 20(2)",
    year=1958,
    input_shape=(30,),
    num_classes=1,
    recipe="logistic_regression",
)
_least_squares = partial(
    _linear,
    task="regress",
    paper="Legendre, Nouvelles methodes, appendix",
    year=1805,
    input_shape=(10,),
    num_classes=1,
    recipe="linear_regression",
)
_svm = partial(_linear, paper="Weston & Watkins, ESANN 7", year=1999, recipe="linear_svm")
_mlp = partial(
    Architecture,
    builder="zoo.models.mlp:mlp",
    task="classify",
    paper="Rumelhart et al., Nature 323",
    year=1986,
    input_shape=(28, 28, 1),
    num_classes=10,
    smallest=1,
    recipe="mlp",
)
_mlp_bn = partial(_mlp, paper="Ioffe & Szegedy, arXiv:1502.03167", year=2015)
_lenet300 = partial(_mlp, paper="LeCun et al., Proc. IEEE 86(11)", year=1998)
_lenet5 = partial(
    _lenet300,
    builder="zoo.models.lenet:lenet5",
    input_shape=(32, 32, 1),
    smallest=16,
    recipe="lenet",
)
_lenet5_1998 = partial(
    _lenet5,
    builder="zoo.models.lenet1998:lenet5_1998",
    smallest=32,
)
_caffe_lenet = partial(
    _lenet5,
    builder="zoo.models.lenet:caffe_lenet",
    paper="Jia et al., arXiv:1408.5093",
    year=2014,
    input_shape=(28, 28, 1),
    smallest=13,
)
_alexnet = partial(
    Architecture,
    builder="zoo.models.alexnet:alexnet",
    task="classify",
    paper="Krizhevsky et al., NIPS 25",
    year=2012,
    input_shape=(227, 227, 3),
    num_classes=1000,
    smallest=67,
    recipe="alexnet",
)
_one_tower = partial(
    _alexnet,
    builder="zoo.models.alexnet:alexnet_one_tower",
    paper="Krizhevsky, arXiv:1404.5997",
    year=2014,
    input_shape=(224, 224, 3),
    smallest=63,
)
_zfnet = partial(
    Architecture,
    builder="zoo.models.zfnet:zfnet",
    task="classify",
    paper="Zeiler & Fergus, arXiv:1311.2901",
    year=2013,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=47,
    recipe="zfnet",
)
_vgg = partial(
    Architecture,
    builder="zoo.models.vgg:vgg",
    task="classify",
    paper="Simonyan & Zisserman, arXiv:1409.1556",
    year=2014,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=32,
    recipe="vgg",
)
_nin = partial(
    Architecture,
    builder="zoo.models.nin:nin",
    task="classify",
    paper="Lin et al., arXiv:1312.4400",
    year=2013,
    input_shape=(32, 32, 3),
    num_classes=10,
    smallest=4,
    recipe="nin",
)
_nin_imagenet = partial(
    _nin,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=39,
    recipe="nin_imagenet",
)
_googlenet = partial(
    Architecture,
    builder="zoo.models.googlenet:googlenet",
    task="classify",
    paper="Szegedy et al., arXiv:1409.4842",
    year=2014,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=31,
    recipe="googlenet",
)
_resnet = partial(
    Architecture,
    builder="zoo.models.resnet:resnet",
    task="classify",
    paper="He et al., arXiv:1512.03385",
    year=2015,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=1,
    recipe="resnet",
)
_resnet_v2 = partial(
    _resnet,
    builder="zoo.models.resnet_v2:resnet_v2",
    paper="He et al., arXiv:1603.05027",
    year=2016,
)
_resnet_cifar = partial(
    _resnet,
    builder="zoo.models.resnet_cifar:resnet_cifar",
    input_shape=(32, 32, 3),
    num_classes=10,
    recipe="resnet_cifar",
)
_resnet_cifar_v2 = partial(
    _resnet_cifar,
    paper="He et al., arXiv:1603.05027",
    year=2016,
)
_stochastic = partial(
    _resnet_cifar,
    paper="Huang et al., arXiv:1603.09382",
    year=2016,
    recipe="stochastic_depth",
)
_wide = partial(
    Architecture,
    builder="zoo.models.wide_resnet:wide_resnet",
    task="classify",
    paper="Zagoruyko & Komodakis, arXiv:1605.07146",
    year=2016,
    input_shape=(32, 32, 3),
    num_classes=10,
    smallest=1,
    recipe="wide_resnet",
)
_wide_imagenet = partial(
    _resnet,
    paper="Zagoruyko & Komodakis, arXiv:1605.07146",
    year=2016,
)
_densenet = partial(
    Architecture,
    builder="zoo.models.densenet:densenet",
    task="classify",
    paper="Huang et al., arXiv:1608.06993",
    year=2016,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=29,
    recipe="densenet",
)
_densenet_cifar = partial(
    _densenet,
    builder="zoo.models.densenet:densenet_cifar",
    input_shape=(32, 32, 3),
    num_classes=10,
    smallest=4,
    recipe="densenet_cifar",
)
_local = partial(
    Architecture,
    builder="zoo.models.local:local",
    task="classify",
    paper="Ranzato, CVPR tutorial",
    year=2014,
    input_shape=(200, 200, 1),
    num_classes=10,
    smallest=10,
    recipe="local",
)
_lp = partial(
    Architecture,
    builder="zoo.models.lp_pooling:lp_pooling",
    task="classify",
    paper="Sermanet et al., arXiv:1204.3968",
    year=2012,
    input_shape=(32, 32, 3),
    num_classes=10,
    smallest=20,
    recipe="lp_pooling",
)
_maxout = partial(
    Architecture,
    builder="zoo.models.maxout:maxout",
    task="classify",
    paper="Goodfellow et al., arXiv:1302.4389",
    year=2013,
    input_shape=(32, 32, 3),
    num_classes=10,
    smallest=10,
    recipe="maxout",
)
_squeezenet = partial(
    Architecture,
    builder="zoo.models.squeezenet:squeezenet",
    task="classify",
    paper="Iandola et al., arXiv:1602.07360",
    year=2016,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=21,
    recipe="squeezenet",
)
_mobilenet = partial(
    Architecture,
    builder="zoo.models.mobilenet:mobilenet",
    task="classify",
    paper="Howard et al., arXiv:1704.04861",
    year=2017,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=31,
    recipe="mobilenet",
)
_mobilenet_v2 = partial(
    Architecture,
    builder="zoo.models.mobilenet_v2:mobilenet_v2",
    task="classify",
    paper="Sandler et al., arXiv:1801.04381",
    year=2018,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=1,
    recipe="mobilenet_v2",
)
_lite = partial(
    Architecture,
    builder="zoo.models.efficientnet_lite:efficientnet_lite",
    task="classify",
    paper="Tan & Le, arXiv:1905.11946",
    year=2019,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=1,
    recipe="efficientnet_lite",
)
_lite1 = partial(_lite, input_shape=(240, 240, 3))
_lite2 = partial(_lite, input_shape=(260, 260, 3))
_char_lstm = partial(
    Architecture,
    builder="zoo.models.char_lstm:char_lstm",
    task="language",
    paper="Graves, arXiv:1308.0850",
    year=2013,
    input_shape=(100,),
    num_classes=103,
    smallest=1,
    recipe="char_lstm",
)
_char_gru = partial(_char_lstm, paper="Cho et al., arXiv:1406.1078", year=2014)
_char_tcn = partial(
    _char_lstm,
    builder="zoo.models.char_tcn:char_tcn",
    paper="Bai et al., arXiv:1803.01271",
    year=2018,
    recipe="char_tcn",
)
_char_transformer = partial(
    _char_lstm,
    builder="zoo.models.char_transformer:char_transformer",
    paper="Al-Rfou et al., arXiv:1808.04444",
    year=2018,
    recipe="char_transformer",
)
_word_lstm = partial(
    _char_lstm,
    paper="Zaremba et al., arXiv:1409.2329",
    year=2014,
    input_shape=(35,),
    num_classes=10_000,
    recipe="word_lstm",
)
_word2vec = partial(
    Architecture,
    builder="zoo.models.word_vectors:word2vec",
    task="word2vec",
    paper="Mikolov et al., arXiv:1310.4546",
    year=2013,
    input_shape=(1,),
    num_classes=5000,
    smallest=1,
    recipe="word2vec",
)
_lstm_series = partial(
    Architecture,
    builder="zoo.models.recurrent_series:recurrent_series",
    task="classify",
    paper="Hochreiter & Schmidhuber, Neural Computation 9(8)",
    year=1997,
    input_shape=(80, 2),
    num_classes=4,
    smallest=1,
    recipe="recurrent_series",
)
_bilstm_series = partial(_lstm_series, paper="Schuster & Paliwal, IEEE Trans. Signal Proc. 45(11)")
_gru_series = partial(_lstm_series, paper="Cho et al., arXiv:1406.1078", year=2014)
_peephole_series = partial(_lstm_series, paper="Gers & Schmidhuber, IJCNN", year=2000)
_elman_series = partial(_lstm_series, paper="Elman, Cognitive Science 14(2)", year=1990)
_lstm_forecast = partial(
    _lstm_series,
    builder="zoo.models.recurrent_series:recurrent_forecast",
    task="forecast",
    input_shape=(60, 1),
    num_classes=20,
    recipe="recurrent_forecast",
)
_gru_forecast = partial(_lstm_forecast, paper="Cho et al., arXiv:1406.1078", year=2014)
_elman_forecast = partial(_lstm_forecast, paper="Elman, Cognitive Science 14(2)", year=1990)
_name_lstm = partial(
    _lstm_series,
    builder="zoo.models.recurrent_text:recurrent_text",
    input_shape=(40,),
    num_classes=12,
    recipe="recurrent_text",
)
_name_elman = partial(_name_lstm, paper="Elman, Cognitive Science 14(2)", year=1990)
_WAVES = {"units": (32,)}
_NAMES = {"units": (128,), "vocabulary": 104}
_unet = partial(
    Architecture,
    builder="zoo.models.unet:unet",
    task="segment",
    paper="Ronneberger et al., arXiv:1505.04597",
    year=2015,
    input_shape=(572, 572, 1),
    num_classes=2,
    smallest=188,
    recipe="unet",
)
_fcn = partial(
    Architecture,
    builder="zoo.models.fcn:fcn",
    task="segment",
    paper="Long et al., arXiv:1411.4038",
    year=2015,
    input_shape=(500, 500, 3),
    num_classes=21,
    smallest=32,
    recipe="fcn",
)
_small_fcn = partial(_fcn, input_shape=(64, 64, 3), num_classes=11)
_segnet = partial(
    _fcn,
    builder="zoo.models.segnet:segnet",
    paper="Badrinarayanan et al., arXiv:1511.00561",
    input_shape=(352, 480, 3),
    num_classes=12,
)
_small_segnet = partial(_segnet, input_shape=(64, 64, 3), num_classes=11, smallest=8)
_deconvnet = partial(
    _segnet,
    paper="Noh et al., arXiv:1505.04366",
    input_shape=(224, 224, 3),
    num_classes=21,
    smallest=224,
)
_recurrent = partial(
    _fcn,
    builder="zoo.models.recurrent_cnn:recurrent_cnn",
    paper="Pinheiro & Collobert, PMLR 32(1)",
    year=2014,
    input_shape=(64, 64, 3),
    num_classes=11,
    smallest=4,
)
_SMALL_FCN = {
    "convs": (1, 1, 2, 2, 2),
    "filters": (16, 32, 64, 64, 64),
    "units": 128,
    "window": 3,
    "pad": 0,
    "batch_norm": True,
}
_DILATED_FCN = {"trunk": "resnet50_v1_5", "trunk_settings": {"output_stride": 8}, "units": 512}
_DILATED_FCN |= {"dropout": 0.1}
_RESNET_FCN = {"trunk": "resnet20", "stride": 1, "units": 64, "dropout": 0.1}
_SMALL_SEG = {"convs": (2, 2, 2), "filters": (16, 32, 64)}
_SMALL_DECONV = {"convs": (2, 2, 2, 2), "filters": (16, 32, 64, 64), "units": 256, "window": 4}
_small_deconvnet = partial(_deconvnet, input_shape=(64, 64, 3), num_classes=11, smallest=64)
_locator = partial(
    Architecture,
    builder="zoo.models.locator:locator",
    task="localise",
    paper="Sermanet et al., arXiv:1312.6229",
    year=2013,
    input_shape=(64, 64, 3),
    num_classes=10,
    smallest=16,
    recipe="locator",
)
_pose = partial(
    Architecture,
    builder="zoo.models.pose:deeppose",
    task="pose",
    paper="Toshev & Szegedy, arXiv:1312.4659",
    year=2014,
    input_shape=(64, 64, 1),
    num_classes=5,
    smallest=16,
    recipe="pose",
)
_SMALL_POSE = {"small": True, "units": 128, "dropout": 0.1}
_DEEPPOSE: dict[str, Any] = {"input_shape": (220, 220, 3), "num_classes": 14, "smallest": 64}
_HEAT: dict[str, Any] = {
    "builder": "zoo.models.pose:heat_maps",
    "paper": "Sun et al., arXiv:1711.08229",
    "year": 2018,
}
_ellipse = partial(
    _pose,
    builder="zoo.models.pose:ellipse_net",
    task="ellipse",
    paper="Halir & Flusser, WSCG",
    year=1998,
    num_classes=1,
    recipe="ellipse",
)
_faster = partial(
    Architecture,
    builder="zoo.models.faster_rcnn:faster_rcnn",
    task="detect",
    paper="Ren et al., arXiv:1506.01497",
    year=2015,
    input_shape=(64, 64, 3),
    num_classes=10,
    smallest=32,
    recipe="faster_rcnn",
)
_fast = partial(
    _faster,
    builder="zoo.models.fast_rcnn:fast_rcnn",
    paper="Girshick, arXiv:1504.08083",
    recipe="fast_rcnn",
)
_VGG_FAST = {"trunk": "vgg16", "units": 4096, "regions": 300, "detections": 100, "bins": 7}
_VGG_FAST |= {"reader": "pool"}
_large_fast = partial(_fast, input_shape=(608, 800, 3), num_classes=20, smallest=64)
_VGG_FASTER = {"trunk": "vgg16", "units": 4096, "regions": 300, "detections": 100, "bins": 7}
_FPN_FASTER = _VGG_FASTER | {"trunk": "resnet50_v1_5_fpn", "units": 1024, "regions": 1000}
_FPN_FASTER |= {"width": 256}
_FPN_MASK = _FPN_FASTER | {"masks": 14}
_large_faster = partial(_faster, input_shape=(800, 800, 3), num_classes=90, smallest=64)
_mask: dict[str, Any] = {
    "paper": "He et al., arXiv:1703.06870",
    "year": 2017,
    "recipe": "mask_rcnn",
}
_C4_FASTER = {"trunk": "resnet50_c4", "regions": 300, "detections": 100, "bins": 7}
_large_c4 = partial(_large_faster, num_classes=80, paper="He et al., arXiv:1703.06870", year=2017)
_tell = partial(
    Architecture,
    builder="zoo.models.show_and_tell:show_and_tell",
    task="caption",
    paper="Vinyals et al., arXiv:1411.4555",
    year=2014,
    input_shape=(224, 224, 3),
    num_classes=12_000,
    smallest=15,
    recipe="caption",
)
_attend = partial(
    _tell,
    builder="zoo.models.show_attend_tell:show_attend_tell",
    paper="Xu et al., arXiv:1502.03044",
    year=2015,
    num_classes=10_000,
    smallest=16,
)
_small_tell = partial(_tell, input_shape=(64, 64, 3), num_classes=27, smallest=1)
_small_attend = partial(_attend, input_shape=(64, 64, 3), num_classes=27, smallest=1)
_seq2seq = partial(
    Architecture,
    builder="zoo.models.seq2seq:seq2seq",
    task="translate",
    paper="Sutskever et al., arXiv:1409.3215",
    year=2014,
    input_shape=(50,),
    num_classes=80_000,
    smallest=1,
    recipe="seq2seq",
)
_luong = partial(
    _seq2seq, paper="Luong et al., arXiv:1508.04025", year=2015, num_classes=50_000, recipe="luong"
)
_rnnsearch = partial(
    _seq2seq,
    builder="zoo.models.rnnsearch:rnnsearch",
    paper="Bahdanau et al., arXiv:1409.0473",
    year=2015,
    num_classes=30_000,
    recipe="rnnsearch",
)
_DATES: dict[str, Any] = {"input_shape": (29,), "num_classes": 14}
_WORDS: dict[str, Any] = {"input_shape": (16,), "num_classes": 42}
_dense = partial(
    Architecture,
    builder="zoo.models.densecap:densecap",
    task="dense_caption",
    paper="Johnson et al., arXiv:1511.07571",
    year=2016,
    input_shape=(64, 64, 3),
    num_classes=24,
    smallest=32,
    recipe="densecap",
)
_large_dense = partial(_dense, input_shape=(540, 720, 3), num_classes=10_500, smallest=64)
_autoencoder = partial(
    Architecture,
    builder="zoo.models.autoencoder:autoencoder",
    task="autoencoder",
    paper="Rumelhart et al., Nature 323",
    year=1986,
    input_shape=(28, 28, 1),
    num_classes=1,
    smallest=1,
    recipe="autoencoder",
)
_denoising = partial(
    _autoencoder, paper="Vincent et al., ICML 25", year=2008, recipe="denoising_autoencoder"
)
_sparse = partial(
    _autoencoder, paper="Ng, lecture notes CS294A", year=2011, recipe="sparse_autoencoder"
)
_contractive = partial(
    _autoencoder, paper="Rifai et al., ICML 28", year=2011, recipe="contractive_autoencoder"
)
_deep = partial(
    _autoencoder,
    paper="Hinton & Salakhutdinov, Science 313",
    year=2006,
    recipe="deep_autoencoder",
)
_conv_autoencoder = partial(
    _autoencoder,
    builder="zoo.models.autoencoder:conv_autoencoder",
    paper="Masci et al., ICANN 21",
    year=2011,
    smallest=4,
    recipe="conv_autoencoder",
)
_vae = partial(
    Architecture,
    builder="zoo.models.vae:vae",
    task="vae",
    paper="Kingma & Welling, arXiv:1312.6114",
    year=2013,
    input_shape=(28, 28, 1),
    num_classes=1,
    smallest=1,
    recipe="vae",
)
_conv_vae = partial(
    _vae,
    builder="zoo.models.vae:conv_vae",
    smallest=4,
    recipe="conv_vae",
)
_dcgan = partial(
    Architecture,
    builder="zoo.models.dcgan:dcgan",
    task="gan",
    paper="Radford et al., arXiv:1511.06434",
    year=2015,
    input_shape=(64, 64, 3),
    num_classes=1,
    smallest=32,  # of 16 the generator would begin with maps of one pixel
    recipe="dcgan",
)
_dcgan_small = partial(_dcgan, input_shape=(28, 28, 1), smallest=4)
_espcn = partial(
    Architecture,
    builder="zoo.models.espcn:espcn",
    task="super_resolution",
    paper="Shi et al., arXiv:1609.05158",
    year=2016,
    input_shape=(51, 51, 1),  # 17 pixels of the small picture
    num_classes=1,
    smallest=36,  # 12 of the small picture, of which a pixel of the answer sees 9
    recipe="espcn",
)
_STYLE_SMALL = {"filters": (16, 32, 64), "blocks": 3}
_fast_style = partial(
    Architecture,
    builder="zoo.models.fast_style:fast_style",
    task="fast_style",
    paper="Johnson et al., arXiv:1603.08155",
    year=2016,
    input_shape=(256, 256, 3),
    num_classes=1,
    smallest=16,
    recipe="fast_style",
)
_conditional = partial(
    _dcgan_small,
    paper="Mirza & Osindero, arXiv:1411.1784",
    year=2014,
    num_classes=10,
    recipe="conditional_gan",
)
_pacgan = partial(_dcgan_small, paper="Lin et al., arXiv:1712.04086", year=2018, recipe="pacgan")
_wgan_gp = partial(
    _dcgan_small,
    task="wgan_gp",
    paper="Gulrajani et al., arXiv:1704.00028",
    year=2017,
    recipe="wgan_gp",
)
_gan = partial(
    Architecture,
    builder="zoo.models.gan:gan",
    task="gan",
    paper="Goodfellow et al., arXiv:1406.2661",
    year=2014,
    input_shape=(28, 28, 1),
    num_classes=1,
    smallest=1,
    recipe="gan",
)
_gan_ring = partial(_gan, input_shape=(2,), recipe="gan_ring")
_wgan_gp_ring = partial(
    _gan_ring,
    task="wgan_gp",
    paper="Gulrajani et al., arXiv:1704.00028",
    year=2017,
    recipe="wgan_gp_ring",
)
_chairs = partial(
    Architecture,
    builder="zoo.models.chairs:chairs",
    task="attributes",
    paper="Dosovitskiy et al., arXiv:1411.5928",
    year=2014,
    input_shape=(128, 128, 3),
    num_classes=809,
    smallest=16,
    recipe="chairs",
)
_chairs_small = partial(_chairs, input_shape=(32, 32, 3), num_classes=30, smallest=8)
_spn = partial(
    Architecture,
    builder="zoo.models.spn:spn",
    task="sum_product",
    paper="Poon & Domingos, arXiv:1202.3732",
    year=2011,
    input_shape=(28, 28, 1),
    num_classes=1,
    smallest=1,
    recipe="spn",
)
_rbm = partial(
    Architecture,
    builder="zoo.models.rbm:rbm",
    task="rbm",
    paper="Salakhutdinov & Murray, ICML 25",
    year=2008,
    input_shape=(28, 28, 1),
    num_classes=1,
    smallest=1,
    recipe="rbm",
)
_dbn = partial(
    _rbm,
    builder="zoo.models.rbm:dbn",
    task="dbn",
    paper="Hinton et al., Neural Computation 18(7)",
    year=2006,
    num_classes=10,
    recipe="dbn",
)
_cdbn = partial(
    _dbn,
    builder="zoo.models.rbm:cdbn",
    paper="Lee et al., ICML 26",
    year=2009,
    recipe="cdbn",
)

_pixel_cnn = partial(
    Architecture,
    builder="zoo.models.pixel_cnn:pixel_cnn",
    task="autoregressive",
    paper="van den Oord et al., arXiv:1601.06759",
    year=2016,
    input_shape=(28, 28, 1),
    num_classes=1,
    smallest=1,
    recipe="pixel_cnn",
)
_gated = partial(
    _pixel_cnn,
    builder="zoo.models.pixel_cnn:gated_pixel_cnn",
    paper="van den Oord et al., arXiv:1606.05328",
)
_told_pixels = partial(_gated, recipe="conditional_pixel_cnn")
_row_lstm = partial(_pixel_cnn, builder="zoo.models.pixel_rnn:pixel_rnn", recipe="row_lstm")
_diagonal = partial(_row_lstm, recipe="diagonal_bilstm")
_multi_scale = partial(
    _row_lstm,
    builder="zoo.models.pixel_rnn:multi_scale",
    task="multi_scale",
    smallest=2,
    recipe="multi_scale",
)
_ntm = partial(
    Architecture,
    builder="zoo.models.ntm:ntm",
    task="recall",
    paper="Graves et al., arXiv:1410.5401",
    year=2014,
    input_shape=(42, 10),
    num_classes=8,
    smallest=1,
    recipe="ntm",
)
_ntm_small = partial(_ntm, input_shape=(22, 10), recipe="ntm_small")
_lstm_memory = partial(_ntm_small, builder="zoo.models.ntm:lstm_memory", recipe="lstm_memory")
_tree = partial(
    Architecture,
    builder="zoo.models.tree:tree_network",
    task="tree",
    paper="Socher et al., ICML 28",
    year=2011,
    input_shape=(15,),
    num_classes=10,
    smallest=2,
    recipe="tree",
)
_rntn = partial(_tree, paper="Socher et al., EMNLP", year=2013)
_tree_lstm = partial(_tree, paper="Tai et al., arXiv:1503.00075", year=2015)
_nli = partial(
    Architecture,
    builder="zoo.models.inference:decomposable_attention",
    task="inference",
    paper="Parikh et al., arXiv:1606.01933",
    year=2016,
    input_shape=(7,),
    num_classes=3,
    smallest=1,
    recipe="inference",
)
_nli_lstm = partial(
    _nli,
    builder="zoo.models.inference:nli_lstm",
    paper="Bowman et al., arXiv:1508.05326",
    year=2015,
)
_devise = partial(
    Architecture,
    builder="zoo.models.devise:devise",
    task="devise",
    paper="Frome et al., NIPS 26",
    year=2013,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=63,
    recipe="devise",
)
_devise_small = partial(_devise, input_shape=(32, 32, 3), num_classes=60, smallest=4)
_devise_softmax = partial(
    _devise_small, builder="zoo.models.devise:devise_softmax", recipe="devise_softmax"
)

_ctc = partial(
    Architecture,
    builder="zoo.models.ctc:ctc_blstm",
    task="transcribe",
    paper="Graves et al., ICML 23",
    year=2006,
    input_shape=(100, 26),
    num_classes=62,
    smallest=1,
    recipe="ctc",
)
_multi = partial(
    _ctc,
    builder="zoo.models.ctc_planes:ctc_multi",
    paper="Graves & Schmidhuber, NIPS 21",
    year=2008,
    input_shape=(112, 28),
    num_classes=11,
    smallest=4,
    recipe="ctc_planes",
)
_rows = partial(_multi, builder="zoo.models.ctc_planes:ctc_rows")
_gtn = partial(
    _ctc,
    builder="zoo.models.gtn:gtn",
    task="segment_lattice",
    paper="LeCun et al., Proc. IEEE 86(11)",
    year=1998,
    input_shape=(112, 28),
    num_classes=11,
    smallest=28,
    recipe="gtn",
)
_LINES: dict[str, Any] = {"input_shape": (112, 28), "num_classes": 11}
_panda = partial(
    Architecture,
    builder="zoo.models.panda:panda",
    task="traits",
    paper="Zhang et al., arXiv:1311.5591",
    year=2014,
    input_shape=(64, 64, 3),
    num_classes=10,
    smallest=16,
    recipe="panda",
)

_A, _B, _D, _E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
_R18, _R34, _R101, _R152 = (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
_BASIC, _DEEP = {"bottleneck": False}, {"bottleneck": True}
_V1_5 = {"bottleneck": True, "stride_in": "3x3"}
_BC = {"bottleneck": True, "compression": 0.5}
_SD, _PRE = {"survival": 0.5}, {"preactivation": True}
_CAFFE2 = {"top": (512, 512, 512), "units": (4096, 1024), "caffe2": True}
_CHAR = {"units": (256,), "embedding": 64}
_TELL = {"trunk": "scene", "units": 256}
_LOOK = {"trunk": "scene", "units": 128, "embedding": 64}
_TIED = {"units": (1000,), "tied": True}
_TIED_WIDE = {"units": (2000,), "tied": True, "code": "relu"}
_TO_30 = {"units": (1000, 500, 250, 30), "activation": "relu", "code": "linear"}
_SMALL = {"doublings": 2, "width": 32, "latent": 64}
_TOLD = {"conditional": True}
_RING = {"units": (128, 128), "latent": 16, "pieces": 1, "dropout": 0.0}
_CHAIRS: dict[str, Any] = {"transform": 4, "units": 128, "joined": 256, "widths": (96, 64, 32)}
_READS = {"source_tokens": 43, "depth": 1, "units": 128, "embedding": 32}
_LOOKS = {"attention": "general"}
_LETTERS = {"source_tokens": 28, "units": 128, "embedding": 64, "maxout": 64}
_DENSE = {"trunk": "vgg16", "units": 4096, "language": 512, "regions": 300, "detections": 100}
_DENSE |= {"bins": 7, "length": 11}
_GIVEN = {"hidden": 500, "latent": 20, "conditional": True}
_OF_CLASSES: dict[str, Any] = {
    "paper": "Kingma et al., arXiv:1406.5298",
    "year": 2014,
    "num_classes": 10,
    "recipe": "conditional_vae",
}
_PIXELS = {"features": 32, "blocks": 6}
_ASKED = {**_PIXELS, "classes": 10}
_ROWS = {"along": "row", "features": 16, "blocks": 5}
_DIAGONALS = {"along": "diagonal", "features": 16, "blocks": 2}
_APART = {"apart": True, "width": 5, "units": 20}
_TREE = {"vocabulary": 16, "levels": 14}
_TREE_LSTM = {**_TREE, "compose": "lstm"}
_TREE_TENSOR = {**_TREE, "compose": "tensor"}
_PLAIN = {"controller": "feedforward", "places": 32}
_PAIRED = {"units": (100, 100), "together": 2, "dropout": 0.2}
_TORCH = {"batch_norm": True, "dropout": 0.2}
_SMALL_U = {"width": 12, "depth": 3, "padding": "same", "batch_norm": True, "dropout": 0.0}

# fmt: off
ROWS = (
    _linear("linear", "Softmax regression", 7_850, {}),
    _perceptron("perceptron", "Perceptron", 401, {}),
    _least_squares("linear_regression", "Linear regression", 11, {}),
    _logistic("logistic_regression", "Logistic regression", 31, {}),
    _svm("linear_svm", "Linear SVM", 7_850, {}),
    _mlp("mlp", "MLP 512-512", 669_706, {"units": (512, 512)}),
    _mlp_bn("mlp_bn", "MLP 512-512 + BN", 671_754, {"units": (512, 512), "batch_norm": True}),
    _mlp("mlp256", "MLP 256-256", 269_322, {"units": (256, 256)}),
    _mlp_bn("mlp256_bn", "MLP 256-256 + BN", 270_346, {"units": (256, 256), "batch_norm": True}),
    _lenet300("lenet300", "LeNet-300-100", 266_610, {"units": (300, 100)}),
    _lenet5("lenet5", "LeNet-5", 61_706, {}),
    _lenet5_1998("lenet5_1998", "LeNet-5 of 1998", 60_000, {}),
    _caffe_lenet("caffe_lenet", "LeNet of Caffe", 431_080, {}),
    _alexnet("alexnet", "AlexNet, two towers", 60_965_224, {}),
    _one_tower("alexnet_one_tower", "AlexNet, one tower", 61_100_840, {}),
    _zfnet("zfnet", "ZFNet", 62_357_608, {}),
    _zfnet("zfnet512", "ZFNet-512", 87_250_536, _CAFFE2, smallest=59),
    _vgg("vgg11", "VGG-11 (A)", 132_863_336, {"convs": _A}),
    _vgg("vgg11_bn", "VGG-11 (A) + BN", 132_868_840, {"convs": _A, "batch_norm": True}),
    _vgg("vgg13", "VGG-13 (B)", 133_047_848, {"convs": _B}),
    _vgg("vgg13_bn", "VGG-13 (B) + BN", 133_053_736, {"convs": _B, "batch_norm": True}),
    _vgg("vgg16", "VGG-16 (D)", 138_357_544, {"convs": _D}),
    _vgg("vgg16_bn", "VGG-16 (D) + BN", 138_365_992, {"convs": _D, "batch_norm": True}),
    _vgg("vgg19", "VGG-19 (E)", 143_667_240, {"convs": _E}),
    _vgg("vgg19_bn", "VGG-19 (E) + BN", 143_678_248, {"convs": _E, "batch_norm": True}),
    _nin("nin", "NiN, CIFAR", 966_986, {}),
    _nin_imagenet("nin_imagenet", "NiN, ImageNet", 7_595_176, {"form": "imagenet"}),
    _googlenet("googlenet", "GoogLeNet", 6_998_552, {}),
    _googlenet("googlenet_bn", "GoogLeNet + BN", 6_624_904, _TORCH, smallest=15),
    _resnet("resnet18", "ResNet-18", 11_689_512, {"blocks": _R18, **_BASIC}),
    _resnet("resnet34", "ResNet-34", 21_797_672, {"blocks": _R34, **_BASIC}),
    _resnet("resnet50", "ResNet-50", 25_557_032, {"blocks": _R34, **_DEEP}),
    _resnet("resnet101", "ResNet-101", 44_549_160, {"blocks": _R101, **_DEEP}),
    _resnet("resnet152", "ResNet-152", 60_192_808, {"blocks": _R152, **_DEEP}),
    _resnet("resnet50_v1_5", "ResNet-50 v1.5", 25_557_032, {"blocks": _R34, **_V1_5}),
    _resnet("resnet101_v1_5", "ResNet-101 v1.5", 44_549_160, {"blocks": _R101, **_V1_5}),
    _resnet("resnet152_v1_5", "ResNet-152 v1.5", 60_192_808, {"blocks": _R152, **_V1_5}),
    _resnet_v2("resnet50_v2", "ResNet-50 v2", 25_549_352, {"blocks": _R34}),
    _resnet_v2("resnet101_v2", "ResNet-101 v2", 44_541_480, {"blocks": _R101}),
    _resnet_v2("resnet152_v2", "ResNet-152 v2", 60_185_128, {"blocks": _R152}),
    _resnet_cifar("resnet20", "ResNet-20", 269_722, {"depth": 20}),
    _resnet_cifar("resnet32", "ResNet-32", 464_154, {"depth": 32}),
    _resnet_cifar("resnet44", "ResNet-44", 658_586, {"depth": 44}),
    _resnet_cifar("resnet56", "ResNet-56", 853_018, {"depth": 56}),
    _resnet_cifar("resnet110", "ResNet-110", 1_727_962, {"depth": 110}),
    _resnet_cifar_v2("resnet110_v2", "ResNet-110 v2", 1_727_962, {"depth": 110, **_PRE}),
    _stochastic("resnet110_sd", "ResNet-110 + stoch. depth", 1_727_962, {"depth": 110, **_SD}),
    _stochastic("resnet1202_sd", "ResNet-1202 + stoch. depth", 19_421_274, {"depth": 1202, **_SD}),
    _wide("wrn16_4", "WRN-16-4", 2_748_890, {"depth": 16, "width": 4}),
    _wide("wrn16_8", "WRN-16-8", 10_961_370, {"depth": 16, "width": 8}),
    _wide("wrn28_10", "WRN-28-10", 36_479_194, {"depth": 28, "width": 10}),
    _wide("wrn40_4", "WRN-40-4", 8_949_210, {"depth": 40, "width": 4}),
    _wide_imagenet("wrn50_2", "WRN-50-2", 68_883_240, {"blocks": _R34, **_V1_5, "width": 2}),
    _densenet_cifar("densenet40", "DenseNet-40-12", 1_019_722, {"depth": 40}),
    _densenet_cifar("densenet100_bc", "DenseNet-BC-100-12", 769_162, {"depth": 100, **_BC}),
    _densenet("densenet121", "DenseNet-121", 7_978_856, {"blocks": (6, 12, 24, 16)}),
    _densenet("densenet161", "DenseNet-161", 28_681_000, {"blocks": (6, 12, 36, 24), "growth": 48}),
    _densenet("densenet169", "DenseNet-169", 14_149_480, {"blocks": (6, 12, 32, 32)}),
    _densenet("densenet201", "DenseNet-201", 20_013_928, {"blocks": (6, 12, 48, 32)}),
    _local("local200", "Locally connected, 200x200", 4_041_010, {"connection": "local"}),
    _local("conv200", "Convolutional, 200x200", 110_110, {"connection": "conv"}),
    _lp("lp_pooling", "LP-pooling network", 258_726, {}),
    _maxout("maxout", "Maxout, CIFAR", 16_247_830, {}),
    _squeezenet("squeezenet1_0", "SqueezeNet 1.0", 1_248_424, {"version": "1.0"}),
    _squeezenet("squeezenet1_1", "SqueezeNet 1.1", 1_235_496, {"version": "1.1"}, smallest=17),
    _mobilenet("mobilenet", "MobileNet", 4_231_976, {}),
    _mobilenet_v2("mobilenet_v2", "MobileNetV2", 3_504_872, {}),
    _lite("efficientnet_lite0", "EfficientNet-Lite0", 4_652_008, {}),
    _lite1("efficientnet_lite1", "EfficientNet-Lite1", 5_416_680, {"depth": 1.1}),
    _lite2("efficientnet_lite2", "EfficientNet-Lite2", 6_092_072, {"width": 1.1, "depth": 1.2}),
    _char_lstm("char_lstm", "LSTM of characters", 1_241_127,
               {**_CHAR, "units": (512,), "dropout": 0.3}),
    _char_gru("char_gru", "GRU of characters", 280_359, {**_CHAR, "recurrent": "gru"}),
    _char_lstm("name_generator", "LSTM of lines of names", 362_409, {**_CHAR, "dropout": 0.3},
               input_shape=(50,), num_classes=105, recipe="name_generator"),
    _char_tcn("char_tcn", "Temporal convolutions of characters", 3_248_200,
              {"channels": (450, 450, 450), "embedding": 100}, num_classes=50),
    _char_tcn("char_tcn_small", "Temporal convolutions of characters, small", 496_423,
              {"channels": (128,) * 5, "embedding": 64}),
    _char_transformer("char_transformer", "Transformer of characters, 12 layers", 38_354_176,
                      {}, input_shape=(512,), num_classes=256),
    _char_transformer("char_transformer_small", "Transformer of characters, small", 832_615,
                      {"width": 128, "depth": 4, "heads": 4, "units": 512, "context": 100}),
    _word2vec("word2vec", "Vectors of words: skip-gram", 1_000_000, {"size": 100}),
    _word2vec("cbow", "Vectors of words: CBOW", 1_000_000, {"size": 100},
              paper="Mikolov et al., arXiv:1301.3781", recipe="cbow"),
    _word2vec("glove", "Vectors of words: GloVe", 1_010_000, {"size": 100},
              builder="zoo.models.word_vectors:glove", task="glove",
              paper="Pennington et al., EMNLP", year=2014, recipe="glove"),
    _word_lstm("word_lstm_large", "LSTM of words, large", 66_022_000,
               {"units": (1500, 1500), "embedding": 1500, "dropout": 0.65}),
    _word_lstm("word_lstm_medium", "LSTM of words, medium", 19_775_200,
               {"units": (650, 650), "embedding": 650, "dropout": 0.5}),
    _word_lstm("word_lstm", "LSTM of words, small", 2_833_168,
               {"units": (128, 128), "embedding": 128, "dropout": 0.3}),
    _lstm_series("lstm_series", "LSTM of signals", 4_612, _WAVES),
    _lstm_series("lstm2_series", "LSTM of signals, two layers", 12_932,
                 {**_WAVES, "units": (32, 32)}),
    _bilstm_series("bilstm_series", "LSTM of signals, both ways", 9_220,
                   {**_WAVES, "both_ways": True}),
    _gru_series("gru_series", "GRU of signals", 3_588, {**_WAVES, "recurrent": "gru"}),
    _elman_series("elman_series", "Elman network of signals", 1_252,
                  {**_WAVES, "recurrent": "elman"}),
    _peephole_series("peephole_series", "LSTM of signals, with peepholes", 4_708,
                     {**_WAVES, "recurrent": "peephole"}),
    _name_elman("name_elman", "Elman network of names", 31_244,
                {**_NAMES, "recurrent": "elman"}),
    _name_lstm("name_lstm", "LSTM of names, both ways", 207_372,
               {**_NAMES, "embedding": 64, "both_ways": True, "dropout": 0.5}),
    _lstm_forecast("lstm_forecast", "LSTM that forecasts", 5_012, {"units": (32,)}),
    _gru_forecast("gru_forecast", "GRU that forecasts", 4_020,
                  {"units": (32,), "recurrent": "gru"}),
    _elman_forecast("elman_forecast", "Elman network that forecasts", 1_748,
                    {"units": (32,), "recurrent": "elman"}),
    _ram("ram", "Recurrent attention, 6 glimpses", 209_677, {}),
    _ram("ram_cnn", "Convolutions of as many products as 6 glimpses", 835_479, {},
         builder="zoo.models.ram:cnn", task="classify", smallest=10),
    _ram("ram_wide", "Recurrent attention, 6 glimpses of 12 pixels, 3 scales", 256_781,
         {"side": 12, "scales": 3}, input_shape=(60, 60, 1), recipe="ram_wide"),
    _a2c("a2c", "A2C 64-64", 9_155, {"units": (64, 64)}),
    _ppo("ppo", "PPO 64-64", 9_155, {"units": (64, 64)}),
    _reinforce("reinforce", "REINFORCE 64-64", 9_155, {"units": (64, 64)}),
    _dqn("dqn", "DQN 256-256", 67_586, {"units": (256, 256)}),
    _dqn("dueling_dqn", "Dueling DQN 256-256", 67_459, {"units": (256, 256), "dueling": True},
         paper="Wang et al., arXiv:1511.06581", year=2016),
    _unet("unet", "U-Net", 31_030_658, {}),
    _unet("unet_small", "U-Net, 12 maps", 271_922, _SMALL_U, input_shape=(64, 64, 3), smallest=8),
    _fcn("fcn32s", "FCN-32s, VGG-16", 134_346_581, {"stride": 32}),
    _fcn("fcn16s", "FCN-16s, VGG-16", 134_364_410, {"stride": 16}),
    _fcn("fcn8s", "FCN-8s, VGG-16", 134_376_863, {"stride": 8}),
    _small_fcn("fcn32s_small", "FCN-32s, small", 300_875, _SMALL_FCN | {"stride": 32}),
    _small_fcn("fcn16s_small", "FCN-16s, small", 303_526, _SMALL_FCN | {"stride": 16}),
    _small_fcn("fcn8s_small", "FCN-8s, small", 306_177, _SMALL_FCN | {"stride": 8}),
    _fcn("fcn_resnet50", "FCN, ResNet-50 that dilates", 32_957_013, _DILATED_FCN,
         input_shape=(520, 520, 3)),
    _small_fcn("fcn_resnet20", "FCN, ResNet-20", 307_329, _RESNET_FCN),
    _segnet("segnet", "SegNet", 29_449_932, {}),
    _small_segnet("segnet_small", "SegNet, small", 146_027, _SMALL_SEG),
    _deconvnet("deconvnet", "Deconvolution network", 251_805_653, {"units": 4096}),
    _small_deconvnet("deconvnet_small", "Deconvolution network, small", 886_747, _SMALL_DECONV),
    _recurrent("recurrent_cnn1", "Recurrent CNN, once", 103_311, {"instances": 1}),
    _recurrent("recurrent_cnn2", "Recurrent CNN, twice", 103_561, {"instances": 2}),
    _recurrent("recurrent_cnn3", "Recurrent CNN, three times", 103_811, {"instances": 3}),
    _locator("locator", "Locator", 562_238, {}),
    _locator("locator_class_wise", "Locator, a box for each class", 566_882, {"class_wise": True}),
    _pose("deeppose", "DeepPose, first stage", 58_396_060, {}, **_DEEPPOSE),
    _pose("deeppose_small1", "DeepPose, small", 458_346, _SMALL_POSE),
    _pose("deeppose_small3", "DeepPose, small, three stages", 553_566, _SMALL_POSE | {"stages": 3}),
    _pose("heat_maps", "Heat maps", 213_477, {}, **_HEAT),
    _ellipse("ellipse_net", "Ellipse net", 515_109, {}),
    _large_fast("fast_rcnn", "Fast R-CNN, VGG-16", 134_690_729, _VGG_FAST),
    _fast("fast_rcnn_small", "Fast R-CNN, small", 363_119, {}),
    _large_faster("faster_rcnn", "Faster R-CNN, VGG-16", 137_078_239, _VGG_FASTER, num_classes=20),
    _large_faster("faster_rcnn_fpn", "Faster R-CNN, ResNet-50-FPN", 41_808_406, _FPN_FASTER),
    _faster("faster_rcnn_small", "Faster R-CNN, small", 401_022, {}),
    _large_c4("faster_rcnn_c4", "Faster R-CNN, ResNet-50-C4", 33_852_960, _C4_FASTER),
    _large_faster("mask_rcnn_fpn", "Mask R-CNN, ResNet-50-FPN", 44_454_513, _FPN_MASK, **_mask),
    _large_c4("mask_rcnn_c4", "Mask R-CNN, ResNet-50-C4", 35_970_928, _C4_FASTER | {"masks": 7},
              recipe="mask_rcnn"),
    _faster("mask_rcnn_small", "Mask R-CNN, small", 451_656, {"masks": 14}, **_mask),
    _tell("show_and_tell", "Show and Tell", 20_523_904, {}),
    _small_tell("show_and_tell_small", "Show and Tell, small", 1_378_243, _TELL),
    _attend("show_attend_tell", "Show, Attend and Tell", 54_832_522, {}),
    _small_attend("show_attend_tell_small", "Show, Attend and Tell, small", 416_261, _LOOK),
    _small_attend("show_attend_tell_hard_small", "Show, Attend and Tell, small, hard attention",
                  416_262, _LOOK | {"hard": True}, recipe="hard_caption"),
    _seq2seq("seq2seq", "Sequence to sequence", 384_112_000, {"source_tokens": 160_000}),
    _seq2seq("seq2seq_small", "Sequence to sequence, small", 168_494, _READS, **_DATES),
    _rnnsearch("rnnsearch", "RNNsearch", 80_443_000, {"source_tokens": 30_000}),
    _rnnsearch("rnnsearch_small", "RNNsearch, small", 451_242, _LETTERS, **_WORDS),
    _luong("luong", "Luong's attention", 221_082_000, {"source_tokens": 50_000, **_LOOKS}),
    _luong("luong_small", "Luong's attention, small", 283_182, _READS | _LOOKS, **_DATES),
    _large_dense("densecap", "DenseCap, VGG-16", 150_435_717, _DENSE),
    _dense("densecap_small", "DenseCap, small", 553_996, {}),
    _autoencoder("autoencoder", "Autoencoder 784-500", 785_284, {}),
    _denoising("denoising_autoencoder", "Denoising autoencoder", 1_570_784, _TIED_WIDE),
    _sparse("sparse_autoencoder", "Sparse autoencoder", 785_284, {}),
    _contractive("contractive_autoencoder", "Contractive autoencoder", 785_784, _TIED),
    _deep("deep_autoencoder", "Deep autoencoder", 2_837_314, _TO_30),
    _conv_autoencoder("conv_autoencoder", "Convolutional autoencoder", 32_713, {}),
    _vae("vae", "VAE 784-500-20", 815_824, {"hidden": 500, "latent": 20}),
    _vae("conditional_vae", "VAE, conditional", 825_824, _GIVEN, **_OF_CLASSES),
    _conv_vae("conv_vae", "VAE of convolutions", 1_691_369, {}),
    _dcgan("dcgan", "DCGAN", 6_342_272, {}),
    _gan("gan", "GAN of perceptrons", 3_735_425, {}),
    _gan_ring("gan_ring", "GAN, points of a plane", 35_971, _RING),
    _wgan_gp_ring("wgan_gp_ring", "WGAN-GP, points of a plane", 35_971, _RING | {"critic": True}),
    _dcgan_small("dcgan_small", "DCGAN, small", 270_720, _SMALL),
    _espcn("espcn2", "ESPCN, x2", 21_284, {"scale": 2}, input_shape=(34, 34, 1), smallest=24),
    _espcn("espcn3", "ESPCN, x3", 22_729, {"scale": 3}),
    _espcn("espcn4", "ESPCN, x4", 24_752, {"scale": 4}, input_shape=(68, 68, 1), smallest=48),
    _fast_style("fast_style", "Fast style transfer", 1_679_235, {}),
    _fast_style("fast_style_small", "Fast style transfer, small", 276_675, _STYLE_SMALL),
    _pacgan("pacgan_small", "PacGAN, small", 271_232, _SMALL | {"pack": 2}),
    _conditional("conditional_gan_small", "Conditional GAN, small", 307_200, _SMALL | _TOLD),
    _wgan_gp("wgan_gp_small", "WGAN-GP, small", 270_688, _SMALL | {"critic": True}),
    _chairs("chairs", "Generator of chairs", 22_971_792, {}),
    _chairs_small("chairs_small", "Generator of chairs, small", 821_988, _CHAIRS),
    _spn("spn", "Sum-product network", 293_920, {}),
    _rbm("rbm", "RBM, persistent chains", 393_284, {}),
    _rbm("rbm_cd", "RBM, contrastive divergence", 393_284, {}, recipe="rbm_cd"),
    _rbm("gaussian_rbm", "Gaussian RBM", 393_284, {"visible": "gaussian"}, recipe="gaussian_rbm"),
    _dbn("dbn", "DBN 500-500-2000", 1_666_794, {}),
    _cdbn("cdbn", "Convolutional DBN", 66_571, {}),
    _pixel_cnn("pixel_cnn", "PixelCNN", 2_490_113, {"features": 128, "blocks": 15, "head": 1024}),
    _pixel_cnn("pixel_cnn_small", "PixelCNN, small", 71_233, {"features": 32, "blocks": 7}),
    _gated("gated_pixel_cnn_small", "Gated PixelCNN, small", 138_849, _PIXELS),
    _told_pixels("conditional_pixel_cnn_small", "Conditional PixelCNN, small", 147_169, _ASKED),
    _row_lstm("row_lstm_small", "Row LSTM, small", 40_769, _ROWS),
    _diagonal("diagonal_bilstm", "Diagonal BiLSTM", 63_937, {**_DIAGONALS, "blocks": 7}),
    _diagonal("diagonal_bilstm_small", "Diagonal BiLSTM, small", 19_617, _DIAGONALS),
    _multi_scale("multi_scale_small", "Multi-scale Row LSTM, small", 53_778, {"blocks": 3}),
    _ntm_small("ntm_small", "Neural Turing machine, small", 62_660, {"places": 32}),
    _ntm("ntm", "Neural Turing machine", 62_660, {}),
    _ntm_small("ntm_feedforward", "Neural Turing machine without LSTM", 13_360, _PLAIN),
    _tree("tree_rnn", "Recursive network", 9_930, {**_TREE, "units": 64}),
    _rntn("rntn", "Recursive network, a tensor", 64_435, _TREE_TENSOR | {"units": 25}),
    _tree_lstm("tree_lstm", "Tree-LSTM", 367_510, _TREE_LSTM | {"units": 150, "embedding": 300}),
    _tree_lstm("tree_lstm_small", "Tree-LSTM, small", 48_778, _TREE_LSTM | {"units": 64}),
    _devise_small("devise_small", "DeViSE, small", 580_160, {"trunk": "small", "size": 16}),
    _devise_softmax("devise_softmax", "Softmax beside DeViSE", 585_852, {}),
    _devise("devise", "DeViSE", 59_051_840, {}),
    _panda("panda", "PANDA, three parts", 154_250, {}),
    _panda("panda_apart", "PANDA, a network for each attribute", 153_610, _APART),
    _nli("decomposable_attention", "Decomposable attention", 390_503, {"vocabulary": 29}),
    _nli_lstm("nli_lstm", "LSTM of two sentences", 240_403, {"vocabulary": 29}),
    _lstm_memory("lstm_memory", "LSTM 3 x 256, no other memory", 1_326_088, {}),
    _ctc("ctc_blstm", "Bidirectional LSTM with CTC", 114_062, {}),
    _multi("ctc_multi_small", "Multi-dimensional LSTM with CTC, small", 42_179, {}),
    _rows("ctc_rows_small", "LSTMs of columns and rows with CTC, small", 36_395, {}),
    _gtn("gtn", "Graph transformer network", 44_511, {}),
    _ctc("ctc_blstm_small", "Bidirectional LSTM with CTC, small", 368_611, _PAIRED, **_LINES),
)
# fmt: on

CATALOG: dict[str, Architecture] = {row.name: row for row in ROWS}
