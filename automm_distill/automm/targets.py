"""What a student's fit asks of a teacher, whichever kind it is."""

from automm_distill.automm.outputs_teacher import GivenTargets
from automm_distill.automm.teacher import CachedTeacherTargets, OnlineTeacherTargets

TargetSource = CachedTeacherTargets | OnlineTeacherTargets | GivenTargets
