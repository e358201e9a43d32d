//! Who this installation is, and where: what it marks its objects with, and what it tells another server of its own.

use std::path::Path;

/// The file of the data directory that holds the id of this installation.
const INSTANCE_FILE: &str = "instance";

/// Where a data directory is: two servers of one place cannot live at the same time, as the store in it is locked.
pub(super) fn place_of(data_dir: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    // Changes with every start of the machine, and is the machine's own.
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    match (machine, std::fs::metadata(data_dir)) {
        (Ok(machine), Ok(dir)) => {
            format!("{}-{:x}-{:x}", machine.trim().replace('-', ""), dir.dev(), dir.ino())
        }
        // Nobody else is there, as far as one can know.
        _ => uuid::Uuid::new_v4().simple().to_string(),
    }
}

/// The id of this installation, made at its first use. It marks everything that is put into clusters, so that two
/// installations never touch what is the other's; it belongs to the data directory, and moves with it.
pub(super) fn instance_of(data_dir: &Path) -> std::io::Result<String> {
    let path = data_dir.join(INSTANCE_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if uuid::Uuid::try_parse(text.trim()).is_ok() => Ok(text.trim().to_owned()),
        Ok(_) => Err(std::io::Error::other(format!("{} holds no id", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let new = path.with_extension("new");
            std::fs::write(&new, format!("{id}\n"))?;
            std::fs::File::open(&new)?.sync_all()?;
            std::fs::rename(&new, &path)?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}
