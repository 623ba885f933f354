"""What outputs say, as `zoo predict` says it: labels, boxes, masks, text."""
