// Runs one model in Node, for node.py: opens it, then answers requests until the input ends.
//
// A message is a length (4 bytes, little endian), that many bytes of JSON, and the tensors that the
// JSON lists, one after the other. An answer has `tensors`, or an `error` in one line.
"use strict";

const fs = require("fs");
const path = require("path");

console.log = console.info = console.debug = console.error; // standard output is for answers

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int8: Int8Array, uint8: Uint8Array,
  int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array,
  int64: BigInt64Array, uint64: BigUint64Array, bool: Uint8Array,
};

const ENGINES = {
  async onnx(file, threads) {
    const ort = require("onnxruntime-web");
    if (threads) ort.env.wasm.numThreads = threads;
    const content = fs.readFileSync(file);
    const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
    return async (inputs) => {
      const given = inputs.map((one) => [one.name, new ort.Tensor(one.dtype, one.data, one.shape)]);
      const got = await session.run(Object.fromEntries(given));
      return Object.entries(got).map(([name, tensor]) => {
        return { name, dtype: tensor.type, shape: tensor.dims, data: tensor.data };
      });
    };
  },

  async tfjs(folder, threads) {
    const tf = require("@tensorflow/tfjs");
    const wasm = require("@tensorflow/tfjs-backend-wasm");
    if (threads) wasm.setThreadsCount(threads);
    await tf.setBackend("wasm");
    const json = JSON.parse(fs.readFileSync(path.join(folder, "model.json")));
    const weights = (manifest) => {
      const files = manifest.flatMap((group) => group.paths);
      const parts = files.map((name) => new Uint8Array(fs.readFileSync(path.join(folder, name))));
      return [tf.io.getWeightSpecs(manifest), tf.io.concatenateArrayBuffers(parts.map((p) => p.buffer))];
    };
    const load = () => tf.io.getModelArtifactsForJSON(json, async (found) => weights(found));
    let model = await tf.loadGraphModel({ load });
    const call = async (inputs) => {
      const given = inputs.map((one) => [one.name, tf.tensor(one.data, one.shape, one.dtype)]);
      const tensors = Object.fromEntries(given);
      const got = await model.predictAsync(tensors); // `predict` refuses graphs of free shapes
      const outputs = [];
      for (const [name, tensor] of Object.entries(got)) {
        outputs.push({ name, dtype: tensor.dtype, shape: tensor.shape, data: await tensor.data() });
      }
      tf.dispose([tensors, got]);
      return outputs;
    };
    return async (inputs) => {
      try {
        return await call(inputs);
      } catch (error) {
        if (!/not registered for (the )?backend 'wasm'/.test(error.message)) throw error;
        await tf.setBackend("cpu"); // it has every kernel
        model = await tf.loadGraphModel({ load });
        return call(inputs);
      }
    };
  },
};

/** Returns the next bytes of the standard input, in a buffer of their own; nothing at its end. */
function read(size) {
  const bytes = new Uint8Array(size);
  let done = 0;
  while (done < size) {
    const more = fs.readSync(0, bytes, done, size - done, null);
    if (!more) return null;
    done += more;
  }
  return bytes;
}

function write(bytes) {
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(1, bytes, done);
}

function receive() {
  const size = read(4);
  if (size === null) return null;
  const { tensors } = JSON.parse(Buffer.from(read(Buffer.from(size).readUInt32LE())).toString());
  for (const one of tensors) {
    const kind = ARRAYS[one.dtype];
    const count = one.shape.reduce((product, side) => product * side, 1);
    one.data = new kind(read(count * kind.BYTES_PER_ELEMENT).buffer);
  }
  return tensors;
}

function send(answer) {
  const tensors = (answer.tensors || []).map(({ data, ...rest }) => rest);
  const header = Buffer.from(JSON.stringify({ ...answer, tensors }));
  const size = Buffer.alloc(4);
  size.writeUInt32LE(header.length);
  write(size);
  write(header);
  for (const { data } of answer.tensors || []) {
    write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

async function main() {
  const [engine, model, threads] = process.argv.slice(2);
  try {
    const call = await ENGINES[engine](model, Number(threads));
    send({});
    for (let inputs; (inputs = receive()); ) send({ tensors: await call(inputs) });
  } catch (error) {
    send({ error: String(error.message || error) });
    process.exit(1);
  }
  process.exit(0); // worker threads would keep the process alive
}

main();
