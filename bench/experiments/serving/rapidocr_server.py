"""RapidOCR's recogniser behind FastAPI, an image per request.

In place of its own server (rapidocr_api 0.2.0), which fails without detection, and with it finds no line in an image of
one line.
"""

import numpy as np
from fastapi import FastAPI, UploadFile
from PIL import Image
from rapidocr_onnxruntime import RapidOCR

app = FastAPI()
recognise = RapidOCR().text_rec


@app.get("/")
def alive() -> dict[str, str]:
    return {"status": "alive"}


@app.post("/ocr")
def ocr(images: UploadFile) -> dict[str, str]:
    line = np.array(Image.open(images.file).convert("RGB"))
    return {"text": recognise([line])[0][0][0]}
