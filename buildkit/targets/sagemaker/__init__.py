"""AWS SageMaker: a model with a container of one's own."""
