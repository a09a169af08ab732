"""What the embedded engine costs against a one-pass uploader, podman, docker and crane: ``nox -s bench``. Linux only."""
