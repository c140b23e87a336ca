//! A machine's sample: processor, memory, disks, interfaces, processes.
