"""Colour images as JPEG before they are recorded, as `image_transport` would send them.

A JPEG of quality 95 costs as much time as compressing a noisy 640x480 image without loss, and takes
a sixteenth of the room. What is learned from are the observations' own pictures, which stay as they
were; depth stays without loss, too. But perception that is run again on JPEGs does not see quite
what it saw live, so recording them is a choice.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from tmrl_ros.data import decode
from tmrl_ros.data.definitions import definition, deserialise, typestore
from tmrl_ros.data.items import Item

RAW_TYPE, JPEG_TYPE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
SUFFIX = "/compressed"


@dataclass(frozen=True)
class JpegPictures:
    """Puts the JPEG in the place of a colour image.

    Attributes:
        quality: 1 to 100.
    """

    quality: int

    def name(self, topic: str) -> str:
        """What the topic of a colour image is called in the bag."""
        return topic + SUFFIX if decode.is_color_topic(topic) else topic

    def take(self, item: Item) -> Item:
        """The item, with a JPEG if it is a colour image whose encoding is known."""
        if item.topic.type_name != RAW_TYPE or not decode.is_color_topic(item.topic.name):
            return item
        msg = deserialise(item.data, RAW_TYPE, definition(RAW_TYPE).text)
        try:
            pixels = decode.image(msg)
        except ValueError:
            return item
        topic = replace(item.topic, name=self.name(item.topic.name), type_name=JPEG_TYPE)
        return item._replace(topic=topic, data=self._message(msg, np.asarray(pixels, np.uint8)))

    def _message(self, msg: Any, pixels: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=self.quality)
        store = typestore(JPEG_TYPE, definition(JPEG_TYPE).text)
        made = store.types[JPEG_TYPE](
            header=msg.header,
            format="rgb8; jpeg compressed rgb8",
            data=np.frombuffer(buffer.getvalue(), np.uint8),
        )
        return bytes(store.serialize_cdr(made, JPEG_TYPE))
