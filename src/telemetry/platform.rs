//! What machine this is.
//!
//! | | |
//! |---|---|
//! | source | `uname` when the root is `/`; else `proc/sys/kernel/` `arch`, `hostname`, `ostype`, `osrelease`, `version` |
//! | source | model: `proc/device-tree/model` (ends with a NUL), else `sys/firmware/devicetree/base/model` |
//! | unit | text, as the kernel writes it |
//! | failure | `Query`: a captured tree lacks one of the five names (kernels before 6.1 have no `arch`) |
//!
//! On a real machine the system call has all five names, also where a service unit hides `/proc/sys`.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use super::kept_file::read_name;
use crate::types::reading::{Missing, Platform, Reading};

const WHAT: &str = "system platform";

/// The kernel's names and the device tree below a root.
pub struct Source {
    root: PathBuf,
}

impl Source {
    pub fn new(root: &Path) -> Source {
        Source { root: root.to_owned() }
    }

    /// Asks for the names anew: a host name may change.
    pub fn read(&self) -> Reading<Platform> {
        let mut platform =
            if self.root == Path::new("/") { uname() } else { self.captured().ok_or(Missing::Query(WHAT))? };
        platform.model = self.model();
        Ok(platform)
    }

    fn captured(&self) -> Option<Platform> {
        let name = |file: &str| read_name(&self.root.join("proc/sys/kernel").join(file)).ok();
        Some(Platform {
            machine: name("arch")?,
            network_name: name("hostname")?,
            os_name: name("ostype")?,
            os_release: name("osrelease")?,
            os_version: name("version")?,
            model: None,
        })
    }

    fn model(&self) -> Option<String> {
        ["proc/device-tree/model", "sys/firmware/devicetree/base/model"]
            .iter()
            .find_map(|path| read_name(&self.root.join(path)).ok())
            .filter(|model| !model.is_empty())
    }
}

fn uname() -> Platform {
    let text = |name: &CStr| name.to_string_lossy().into_owned();
    let names = rustix::system::uname();
    Platform {
        machine: text(names.machine()),
        network_name: text(names.nodename()),
        os_name: text(names.sysname()),
        os_release: text(names.release()),
        os_version: text(names.version()),
        model: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Tree;

    fn tree() -> Tree {
        let tree = Tree::new();
        for (name, text) in [
            ("arch", "armv6l\n"),
            ("hostname", "zero\n"),
            ("ostype", "Linux\n"),
            ("osrelease", "6.1.21+\n"),
            ("version", "#1642 Mon Apr  3 17:19:14 BST 2023\n"),
        ] {
            tree.write(&format!("proc/sys/kernel/{name}"), text);
        }
        tree
    }

    #[test]
    fn a_captured_tree_has_the_kernels_names() {
        let platform = Source::new(tree().path()).read().unwrap();
        assert_eq!(platform.machine, "armv6l");
        assert_eq!(platform.network_name, "zero");
        assert_eq!(platform.os_name, "Linux");
        assert_eq!(platform.os_release, "6.1.21+");
        assert_eq!(platform.os_version, "#1642 Mon Apr  3 17:19:14 BST 2023");
        assert_eq!(platform.model, None);
    }

    #[test]
    fn the_model_is_taken_from_either_place() {
        let tree = tree();
        tree.write("sys/firmware/devicetree/base/model", "Raspberry Pi Zero W Rev 1.1\0");
        let source = Source::new(tree.path());
        assert_eq!(source.read().unwrap().model.as_deref(), Some("Raspberry Pi Zero W Rev 1.1"));
        tree.write("proc/device-tree/model", "Raspberry Pi Zero 2 W Rev 1.0\0");
        assert_eq!(source.read().unwrap().model.as_deref(), Some("Raspberry Pi Zero 2 W Rev 1.0"));
    }

    #[test]
    fn a_tree_without_one_of_the_names_has_no_platform() {
        let tree = tree();
        tree.remove("proc/sys/kernel/arch");
        assert_eq!(Source::new(tree.path()).read(), Err(Missing::Query("system platform")));
    }

    #[test]
    fn the_real_root_answers_without_proc() {
        let platform = Source::new(Path::new("/")).read().unwrap();
        assert_eq!(platform.os_name, "Linux");
        assert!(!platform.machine.is_empty() && !platform.os_release.is_empty());
    }
}
