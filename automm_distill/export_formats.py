"""The forms in which a model leaves."""

HF, ONNX, INT8 = "hf", "onnx", "onnx-int8"
FORMATS = (HF, ONNX, INT8)
WEIGHTS = {HF: "model.safetensors", ONNX: "model.onnx", INT8: "model.onnx"}
TITLES = {HF: "Hugging Face", ONNX: "ONNX", INT8: "ONNX int8"}
EXPORT = "export"  # the folder, in that of the run

# Of a form or a model: seconds for one row by itself, and rows per second in batches.
LATENCY, THROUGHPUT = "latency", "throughput"
BF16 = "bf16"  # of a PyTorch model, the same two in that precision
