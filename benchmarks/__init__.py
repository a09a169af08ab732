"""What the embedded engine costs against a one-pass uploader, podman and docker: ``nox -s bench``. Linux only."""
