"""A diagnosis survives the wire, gaps of unguided steps included."""

import msgspec

from daemon.protocol.diagnosis import CURVES, ArmGuidance, Diagnosis, GuidanceMap, TrainingCurves


def test_it_comes_back_as_it_was() -> None:
    arm = ArmGuidance(arm="target", timesteps=(999.0, 500.0), curves=dict.fromkeys(CURVES, (0.5, None)))
    one = Diagnosis(
        blocks=(0, 1),
        arms=(arm,),
        maps=(GuidanceMap(block=0, arm="target", kind="guidance", path="diagnosis/0-target-guidance.png", highest=2.0, mean=0.5),),
        trainings=(TrainingCurves(adapter="wrong", steps=(0, 100), separation=(0.0, 0.2), leak=(0.0, 0.1)),),
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(one), type=Diagnosis) == one
    assert msgspec.json.decode(msgspec.json.encode(one), type=Diagnosis) == one
