"""What both ONNX targets share: the file of the weights, the graph's construction, its ports."""
