"""Small data sets in the layouts of labelling tools and simulators.

Each `write_*` takes the folder to write to. The layouts are those that the tools document.
"""

from __future__ import annotations

import json
import pathlib

import numpy as np
from PIL import Image

SIZE = (48, 64)
INSTANCES = np.array([(0, 0, 0), (40, 23, 77), (80, 46, 154)], np.uint8)
COLORS = np.array([(0, 0, 0), (51, 221, 255), (250, 50, 83)], np.uint8)


def draw(seed):
    """Returns a photo and its ids: areas of 0, 1 and 2."""
    rng = np.random.default_rng(seed)
    ids = np.zeros(SIZE, np.uint8)
    ids[16:] = 1
    left = int(rng.integers(4, 40))
    ids[20:36, left : left + 16] = 2
    photo = np.array([(120, 170, 230), (60, 140, 60), (200, 40, 40)])[ids]
    return np.clip(photo + rng.normal(0, 12, (*SIZE, 3)), 0, 255).astype(np.uint8), ids


def put(root, place, array, **options):
    path = pathlib.Path(root, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def put_text(root, place, text):
    path = pathlib.Path(root, place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")


def write_pairs(root, image, mask, encode=lambda ids: ids, numbers=range(4), **options):
    for number in numbers:
        photo, ids = draw(number)
        put(root, image.format(number), photo)
        put(root, mask.format(number), encode(ids), **options)


def in_red(ids):
    picture = np.zeros((*ids.shape, 4), np.uint8)
    picture[..., 0], picture[..., 3] = ids + 5, 255
    return picture


def write_plain(root):
    write_pairs(root, "images/{}.jpg", "masks/{}.png")


def write_binary_jpeg(root):
    write_pairs(
        root, "images/{}.png", "masks/{}.jpg", lambda ids: (ids == 2).astype(np.uint8) * 255
    )


def write_binary(root):
    write_pairs(
        root, "images/{}.jpg", "masks/{}.png", lambda ids: (ids == 2).astype(np.uint8) * 255
    )


def write_carla(root):
    write_pairs(root, "rgb/{:06}.png", "semantic/{:06}.png", in_red)


def write_unity(root):
    write_pairs(root, "RGB/rgb_{}.png", "Semantic/segmentation_{}.png", COLORS.__getitem__)
    spec = [
        {"label_name": name, "pixel_value": dict(zip("rgba", (*(COLORS[i] / 255).tolist(), 1.0)))}
        for i, name in enumerate(("sky", "ground", "car"))
    ]
    put_text(root, "annotation_definitions.json", {"annotation_definitions": [{"spec": spec}]})


def write_scenes(root):
    for scene in range(2):
        write_pairs(root, f"scene{scene}/rgb/{{}}.png", f"scene{scene}/semantic/{{}}.png")


def write_tiles(root):
    write_pairs(root, "top_{}_RGB.tif", "top_{}_label.tif", COLORS.__getitem__)


def write_mask_suffix(root):
    for split in ("train", "valid"):
        write_pairs(root, f"{split}/shot{{}}.jpg", f"{split}/shot{{}}_mask.png")
    put_text(root, "train/_classes.csv", "Pixel Value, Class\n0, sky\n1, ground\n2, car\n")


def write_cvat(root):
    write_pairs(root, "JPEGImages/{}.jpg", "SegmentationClass/{}.png", COLORS.__getitem__)
    write_pairs(root, "JPEGImages/{}.jpg", "SegmentationObject/{}.png", COLORS[::-1].__getitem__)
    lines = [f"{n}:{','.join(map(str, c))}::" for n, c in zip(("sky", "ground", "car"), COLORS)]
    put_text(root, "labelmap.txt", "# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    put_text(root, "ImageSets/Segmentation/default.txt", "0\n1\n2\n3\n")


def write_splits(root):
    for split, numbers in (("train", range(3)), ("val", range(3, 5))):
        write_pairs(root, f"images/{split}/{{}}.jpg", f"labels/{split}/{{}}.png", numbers=numbers)


def write_cities(root):
    """Cityscapes' layout: a folder for each city of each split, and masks that are previews."""
    for split in ("train", "val"):
        for city in ("aachen", "bochum"):
            place = f"{split}/{city}/{city}_00000{{}}_000019"
            image, mask = (f"{kind}/{place}" for kind in ("leftImg8bit", "gtFine"))
            names = image + "_leftImg8bit.png", mask + "_gtFine_labelIds.png"
            write_pairs(root, *names, numbers=range(2))
            color = mask + "_gtFine_color.png"
            write_pairs(root, names[0], color, COLORS.__getitem__, numbers=range(2))


def write_split_folders(root):
    for split in ("train", "val"):
        write_pairs(root, f"{split}/img/{{}}.jpg", f"{split}/gt/{{}}.png")


def write_replicator(root):
    write_pairs(root, "rgb_{:04}.png", "semantic_segmentation_{:04}.png", COLORS.__getitem__)
    write_pairs(root, "rgb_{:04}.png", "instance_segmentation_{:04}.png", INSTANCES.__getitem__)
    table = {str((*COLORS[i].tolist(), 255)): {"class": n} for i, n in enumerate(("a", "b", "c"))}
    table = {"(0, 0, 0, 0)": {"class": "BACKGROUND"}, **table}
    table["(0, 0, 0, 255)"] = {"class": "UNLABELLED"}
    for number in range(4):
        put_text(root, f"semantic_segmentation_labels_{number:04}.json", table)
        instances = {str((*INSTANCES[2].tolist(), 255)): "/World/car"}
        put_text(root, f"instance_segmentation_mapping_{number:04}.json", instances)


def write_solo(root):
    """Unity's newer format: a folder and a table of what is in it for each frame."""
    for number in range(4):
        photo, ids = draw(number)
        place = f"sequence.{number}/step0"
        put(root, f"{place}.camera.png", photo)
        put(root, f"{place}.camera.semantic segmentation.png", COLORS[ids])
        put(root, f"{place}.camera.instance segmentation.png", INSTANCES[ids])
        shown = [{"labelName": "car", "pixelValue": COLORS[2].tolist()}]
        put_text(root, f"{place}.frame_data.json", {"captures": [{"instances": shown}]})
    spec = [
        {"label_name": name, "pixel_value": [*COLORS[i].tolist(), 255]}
        for i, name in enumerate(("sky", "ground", "car"))
    ]
    put_text(root, "annotation_definitions.json", {"annotationDefinitions": [{"spec": spec}]})


def write_supervisely(root):
    """The masks of its colours are in another export."""
    write_pairs(root, "img/{}.png", "masks_machine/{}.png")
    classes = [{"title": "ground", "color": "#33DDFF"}, {"title": "car", "color": "#FA3253"}]
    put_text(root, "meta.json", {"classes": classes})


def write_renders(root):
    """Several kinds of masks, of which one is of classes."""
    write_pairs(root, "rgb/{}.png", "semantic_seg/{}.png")
    for kind in ("depth", "instance_seg"):
        write_pairs(root, "rgb/{}.png", kind + "/{}.png", lambda ids: ids * 3)


def make_shapes(ids):
    columns = np.flatnonzero((ids == 2).any(0))
    left, right = int(columns.min()), int(columns.max())
    ground = [[0, 16], [63, 16], [63, 47], [0, 47]]
    return [
        {"label": "ground", "shape_type": "polygon", "points": ground},
        {"label": "car", "shape_type": "rectangle", "points": [[left, 20], [right, 35]]},
    ]


def write_labelme(root):
    for number in range(4):
        photo, ids = draw(number)
        put(root, f"{number}.jpg", photo)
        content = {"imageHeight": 48, "imageWidth": 64, "shapes": make_shapes(ids)}
        put_text(root, f"{number}.json", content)


def make_coco(names):
    images, annotations = [], []
    for number, name in enumerate(names):
        images.append({"id": number, "file_name": name, "height": 48, "width": 64})
        ground, car = (shape["points"] for shape in make_shapes(draw(number)[1]))
        for index, ((x0, y0), (x1, y1)) in enumerate(((ground[0], ground[2]), car)):
            polygon = [x0, y0, x1, y0, x1, y1, x0, y1]
            annotations.append(
                {"image_id": number, "category_id": index + 1, "segmentation": [polygon]}
            )
    categories = [{"id": 1, "name": "ground"}, {"id": 2, "name": "car"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(root):
    for number in range(4):
        put(root, f"images/{number}.jpg", draw(number)[0])
    put_text(root, "annotations/instances.json", make_coco([f"{n}.jpg" for n in range(4)]))


def write_coco_file_of_each_split(root, splits, annotations):
    for split in splits:
        for number in range(2):
            put(root, f"{split}/{split}{number}.jpg", draw(number)[0])
        names = [f"{split}{number}.jpg" for number in range(2)]
        put_text(root, annotations.format(split), make_coco(names))


def write_coco_2017(root):
    """The names of COCO itself."""
    splits = ("train2017", "val2017")
    write_coco_file_of_each_split(root, splits, "annotations/instances_{}.json")


def write_masks_below_images(root):
    write_pairs(root, "{}.jpg", "masks/{}.png")


def in_channels_with_255(ids):
    return np.dstack([np.where(ids == 0, 255, ids)] * 3).astype(np.uint8)


def write_channels_with_255(root):
    write_pairs(root, "images/{}.jpg", "masks/{}.png", in_channels_with_255)


def write_coco_splits(root):
    write_coco_file_of_each_split(root, ("train", "valid"), "{}/_annotations.coco.json")


def write_layers(root, mask="masks/{0}/{1}.png", image="images/{}.jpg"):
    for number in range(3):
        photo, ids = draw(number)
        put(root, image.format(number), photo)
        for value, name in enumerate(("sky", "ground", "car")):
            put(root, mask.format(number, name), (ids == value).astype(np.uint8) * 255)


def write_layers_in_folders(root):
    write_layers(root, "masks/{1}/{0}.png")


def write_layers_by_ending(root):
    write_layers(root, "masks/shot_{0}_{1}.png", "images/shot_{}.jpg")


def write_layers_beside_images(root):
    write_layers(root, "shot{0}-{1}.png", "shot{}.jpg")


def write_palettes(root):
    """As a program writes that sorts the palette of each file otherwise."""
    for number, order in enumerate(([0, 1, 2], [2, 0, 1])):
        photo, ids = draw(number)
        put(root, f"images/{number}.jpg", photo)
        picture = Image.fromarray(np.array(order, np.uint8)[ids])
        palette = np.zeros((256, 3), np.uint8)
        palette[order] = COLORS
        picture.putpalette(palette.tobytes())
        pathlib.Path(root, "masks").mkdir(exist_ok=True)
        picture.save(pathlib.Path(root, f"masks/{number}.png"))
