//! Running a command: templates, limits, the whole process group.
