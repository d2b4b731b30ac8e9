"""A trained model for others: a folder for the Hugging Face Hub, and ONNX files."""
