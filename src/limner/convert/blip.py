"""Every way BLIP is stored: by its authors (and LAVIS), and by transformers."""

from limner.convert import blip_hf, blip_salesforce
from limner.convert.dialect import Dialect

DIALECTS: tuple[Dialect, ...] = (*blip_salesforce.DIALECTS, *blip_hf.DIALECTS)
