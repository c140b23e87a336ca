//! Who is looked at: this user, or the one the installed service runs as; and whether the devices are open to them.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Patient;
use super::report::Finding;
use crate::config::Backend;

/// Somebody whose permissions count.
#[derive(Clone, Debug)]
pub struct Subject {
    pub name: String,
    uid: u32,
    /// All of them, the main one too.
    groups: Vec<u32>,
    /// Whether it is who runs this program, so that the kernel itself can be asked.
    is_self: bool,
}

/// The installed unit.
#[derive(Clone, Debug)]
pub struct Service {
    pub unit: PathBuf,
    text: String,
}

/// Where units are, those of the administrator first.
const UNITS: [&str; 3] = ["etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];

impl Service {
    pub fn installed(root: &Path, as_agent: bool) -> Option<Service> {
        let name = if as_agent { "pinwire-agent.service" } else { "pinwire.service" };
        UNITS.iter().find_map(|dir| {
            let unit = root.join(dir).join(name);
            let mut text = fs::read_to_string(&unit).ok()?;
            for dir in UNITS {
                let drop_ins = fs::read_dir(root.join(dir).join(format!("{name}.d"))).into_iter().flatten().flatten();
                for file in drop_ins.filter_map(|entry| fs::read_to_string(entry.path()).ok()) {
                    text.push('\n');
                    text.push_str(&file);
                }
            }
            Some(Service { unit, text })
        })
    }

    /// The values of all its lines `key=…`.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |line| Some(line.trim().strip_prefix(key)?.strip_prefix('=')?.trim()))
    }
}

impl Subject {
    /// The service's user where root looks after it, else whoever runs this.
    pub fn choose(root: &Path, service: Option<&Service>) -> Subject {
        let own = Subject::own(root);
        let of_service = || Subject::of(root, service?);
        if own.uid == 0 { of_service().unwrap_or(own) } else { own }
    }

    pub fn own(root: &Path) -> Subject {
        let uid = rustix::process::geteuid().as_raw();
        let mut groups = vec![rustix::process::getegid().as_raw()];
        groups.extend(rustix::process::getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw()));
        groups.dedup();
        let name = user_name(root, uid).unwrap_or_else(|| uid.to_string());
        Subject { name, uid, groups, is_self: true }
    }

    fn of(root: &Path, service: &Service) -> Option<Subject> {
        let name = service.values("User").last()?.to_owned();
        let (uid, gid) = user_id(root, &name)?;
        let mut groups = vec![gid];
        let more = service.values("SupplementaryGroups").flat_map(str::split_whitespace);
        groups.extend(more.filter_map(|group| group_id(root, group)));
        groups.extend(groups_of(root, &name));
        Some(Subject { name, uid, groups, is_self: false })
    }

    pub fn is(&self, uid: u32) -> bool {
        self.uid == uid
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// Whether it is somebody else than who runs this.
    pub fn is_other(&self) -> bool {
        !self.is_self
    }

    /// Whether they may do this with a file; of somebody else, as far as modes say. The root is where they see it.
    pub fn may(&self, path: &Path, wanted: Access) -> bool {
        if self.is_self {
            return access(path, wanted).is_ok();
        }
        let reach = path.ancestors().skip(1).all(|dir| dir.as_os_str().is_empty() || self.has(dir, 0o1));
        let bits = [(Access::READ_OK, 0o4), (Access::WRITE_OK, 0o2), (Access::EXEC_OK, 0o1)];
        let bits = bits.into_iter().filter(|(which, _)| wanted.contains(*which)).map(|(_, bit)| bit).sum();
        reach && self.has(path, bits)
    }

    fn has(&self, path: &Path, bits: u32) -> bool {
        let Ok(meta) = fs::metadata(path) else { return false };
        let shift = if meta.uid() == self.uid {
            6
        } else if self.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        self.uid == 0 || meta.mode() >> shift & bits == bits
    }
}

pub fn look(patient: &Patient) -> Vec<Finding> {
    let Patient { subject, service, config, .. } = patient;
    let root = &config.root;
    let names: Vec<_> =
        subject.groups.iter().map(|id| group_name(root, *id).unwrap_or_else(|| id.to_string())).collect();
    let who = format!("'{}' (uid {}), in {}", subject.name, subject.uid, names.join(", "));
    let mut findings = Vec::new();
    match service {
        Some(service) if subject.is_other() => findings.push(Finding::ok(
            "user",
            format!("looked at as {who}, as whom {} runs; permissions go by file modes", service.unit.display()),
        )),
        Some(service) => {
            let user = service.values("User").last().unwrap_or("root").to_owned();
            findings.push(Finding::ok("user", format!("looked at as {who}")));
            if user != subject.name {
                let what = format!("the installed service runs as '{user}', whose permissions may be others");
                findings.push(Finding::note("user", what, "with `sudo pinwire doctor …` they are looked at"));
            }
        }
        None => findings.push(Finding::ok("user", format!("looked at as {who}"))),
    }
    findings.extend(devices(patient));
    findings
}

/// The chips' devices, where they would be used.
fn devices(patient: &Patient) -> Vec<Finding> {
    let Patient { subject, config, .. } = patient;
    if matches!(config.gpio.backend, Backend::Sim | Backend::Sysfs) {
        return export(patient).into_iter().collect();
    }
    let mut paths: Vec<_> = fs::read_dir(config.root.join("dev"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("gpiochip")))
        .collect();
    paths.sort();
    let closed: Vec<_> = paths.iter().filter(|path| !subject.may(path, Access::READ_OK | Access::WRITE_OK)).collect();
    let Some(first) = closed.first() else {
        return paths.first().and_then(|path| barred(patient, path)).into_iter().collect();
    };
    let others = if closed.len() > 1 { format!(" and {} more", closed.len() - 1) } else { String::new() };
    let what = format!("'{}' may not open {}{others} ({})", subject.name, first.display(), mode(&config.root, first));
    vec![Finding::problem("user", what, &open_to_group(patient, first))]
}

/// Modes are fine, and the kernel refuses all the same.
fn barred(patient: &Patient, path: &Path) -> Option<Finding> {
    let is_device = fs::metadata(path).is_ok_and(|meta| meta.file_type().is_char_device());
    if !patient.subject.is_self || !is_device {
        return None;
    }
    let refused = fs::File::open(path).err().filter(|error| error.kind() == std::io::ErrorKind::PermissionDenied)?;
    let what = format!("{}: {refused}, although its mode allows it: this is a container or a unit", path.display());
    let fix = format!("give the container `--device {}`, or the unit `DeviceAllow=char-gpiochip rw`", path.display());
    Some(Finding::problem("user", what, &fix))
}

fn export(patient: &Patient) -> Option<Finding> {
    let file = patient.config.root.join("sys/class/gpio/export");
    let wanted = patient.config.gpio.backend == Backend::Sysfs && file.exists();
    if !wanted || patient.subject.may(&file, Access::WRITE_OK) {
        return None;
    }
    let what =
        format!("'{}' may not write {} ({})", patient.subject.name, file.display(), mode(&patient.config.root, &file));
    Some(Finding::problem("user", what, &open_to_group(patient, &file)))
}

/// How this user gets at the file.
fn open_to_group(patient: &Patient, file: &Path) -> String {
    let (subject, root) = (&patient.subject, &patient.config.root);
    let owner = fs::metadata(file).map(|meta| (meta.gid(), meta.mode())).ok();
    let group = owner.filter(|(gid, mode)| *gid != 0 && mode & 0o060 == 0o060);
    let Some(group) = group.map(|(gid, _)| group_name(root, gid).unwrap_or_else(|| gid.to_string())) else {
        return "no group may use it: install the udev rules (systemd/udev/60-pinwire.rules), which give it to group \
                gpio, then `sudo udevadm control --reload && sudo udevadm trigger`"
            .to_owned();
    };
    let name = &subject.name;
    let listed = group_id(root, &group).is_some_and(|gid| groups_of(root, name).contains(&gid));
    if listed && !subject.is_other() {
        return format!("'{name}' is in group {group} since after this login: log out and in again, or reboot");
    }
    if subject.is_other() {
        return format!("`sudo usermod -aG {group} {name}`, then restart the service");
    }
    format!("`sudo usermod -aG {group} {name}`, then log out and in again")
}

/// `crw-rw---- root gpio`, as `ls -l` has it.
fn mode(root: &Path, file: &Path) -> String {
    let Ok(meta) = fs::metadata(file) else { return "which is not there".to_owned() };
    let letters = "rwxrwxrwx".chars().enumerate();
    let bits: String = letters.map(|(at, c)| if meta.mode() >> (8 - at) & 1 == 1 { c } else { '-' }).collect();
    let user = user_name(root, meta.uid()).unwrap_or_else(|| meta.uid().to_string());
    let group = group_name(root, meta.gid()).unwrap_or_else(|| meta.gid().to_string());
    let kind = if meta.file_type().is_char_device() { 'c' } else { '-' };
    format!("{kind}{bits} {user} {group}")
}

/// The fields of each line of `etc/passwd` or `etc/group`.
fn entries(root: &Path, file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(root.join("etc").join(file)).unwrap_or_default();
    text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

fn entry(root: &Path, file: &str, field: usize, value: &str) -> Option<Vec<String>> {
    entries(root, file).into_iter().find(|fields| fields.get(field).is_some_and(|found| found == value))
}

pub fn user_name(root: &Path, uid: u32) -> Option<String> {
    entry(root, "passwd", 2, &uid.to_string())?.into_iter().next()
}

pub fn user_id(root: &Path, name: &str) -> Option<(u32, u32)> {
    let fields = entry(root, "passwd", 0, name)?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

fn group_name(root: &Path, gid: u32) -> Option<String> {
    entry(root, "group", 2, &gid.to_string())?.into_iter().next()
}

fn group_id(root: &Path, name: &str) -> Option<u32> {
    entry(root, "group", 0, name)?.get(2)?.parse().ok()
}

/// The groups that list a user.
fn groups_of(root: &Path, name: &str) -> Vec<u32> {
    let lists = |fields: &Vec<String>| fields.get(3).is_some_and(|names| names.split(',').any(|other| other == name));
    entries(root, "group")
        .iter()
        .filter(|fields| lists(fields))
        .filter_map(|fields| fields.get(2)?.parse().ok())
        .collect()
}
