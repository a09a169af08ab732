"""The kind ``azureml``: a custom base image for Azure Machine Learning."""
