"""Fast synthesis, a closed box: a test holds it to the readable definition in `musicai.gan.curves`. Chapter 4."""
