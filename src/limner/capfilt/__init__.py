"""CapFilt: clean image-text pairs by captioning every picture and filtering every text."""
