"""Kinds of learning whose answer says where: boxes, masks, points, ellipses."""
