"""Where things lie under a home, and who may read them."""

from dataclasses import dataclass
from pathlib import Path

PRIVATE = 0o700
PASSABLE = 0o755


@dataclass(frozen=True, slots=True)
class Home:
    """The folders and files of one installation."""

    path: Path

    @property
    def run(self) -> Path:
        """Locks, requests and the state file; meaningless when no process runs."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """One log per service, and the keeper's."""
        return self.path / "logs"

    @property
    def secrets(self) -> Path:
        """Passwords made here, one file each."""
        return self.path / "secrets"

    @property
    def postgres(self) -> Path:
        """The database's data folder and, as root, the copy of its programs."""
        return self.path / "postgres"

    @property
    def prefect(self) -> Path:
        """Prefect's own home, which keeps its server away from the user's profiles."""
        return self.path / "prefect"

    @property
    def users_lock(self) -> Path:
        """Held shared by every process that uses the stack."""
        return self.run / "users.lock"

    @property
    def start_lock(self) -> Path:
        """Held by whoever starts a keeper, and by a keeper that ends."""
        return self.run / "start.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.run / "keeper.lock"

    @property
    def state_file(self) -> Path:
        """What the keeper says about its services; see `state`."""
        return self.run / "state.json"

    @property
    def requests(self) -> Path:
        """Folder in which users ask the keeper for services; see `requests`."""
        return self.run / "requests"

    def log_of(self, service: str) -> Path:
        """Return the log that a service writes to."""
        return self.logs / f"{service}.log"

    def make_folders(self) -> None:
        """Make what is missing.

        The home itself is passable for others, as PostgreSQL may have to run as another user;
        everything in it that holds a secret is not. Folders above the home get the usual mode
        when they are made, and are never changed when they exist.
        """
        if not self.path.is_dir():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(exist_ok=True)
            self.path.chmod(PASSABLE)
        for folder in (self.run, self.logs, self.secrets, self.prefect, self.requests):
            if not folder.is_dir():
                folder.mkdir(mode=PRIVATE, exist_ok=True)
        if not self.postgres.is_dir():
            self.postgres.mkdir(exist_ok=True)
            self.postgres.chmod(PASSABLE)
