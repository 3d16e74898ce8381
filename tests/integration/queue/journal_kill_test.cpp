// The journal beside real processes: some are killed, some run out of disk, some may not write.
#include "../../support/child.hpp"
#include "../../support/files.hpp"

#include "queue/memory_queue.hpp"

#include <doctest/doctest.h>

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace gf;
using namespace gf::queue;
using gf::test::file_text;
using gf::test::TemporaryFolder;
using gf::test::write_file;

namespace {

/// tests/integration/queue/journal_host.cpp, with what it says.
class Host {
 public:
  explicit Host(std::vector<std::string> words) {
    words.insert(words.begin(), GAMEFORGE_JOURNAL_HOST);
    std::array<int, 2> out{};
    std::array<int, 2> in{};
    REQUIRE(::pipe(out.data()) == 0);
    REQUIRE(::pipe(in.data()) == 0);
    pid_ = gf::test::start_child(std::move(words), [&] {
      ::dup2(out[1], 1);
      ::dup2(in[0], 0);
      for (const int descriptor : {out[0], out[1], in[0], in[1]}) ::close(descriptor);
    });
    ::close(out[1]);
    ::close(in[0]);
    out_ = out[0];
    in_ = in[1];
    reader_ = std::thread([this] {
      std::array<char, 65536> bytes{};
      for (;;) {
        const auto got = ::read(out_, bytes.data(), bytes.size());
        if (got <= 0) return;
        const std::lock_guard lock(mutex_);
        said_.append(bytes.data(), static_cast<std::size_t>(got));
      }
    });
  }
  ~Host() {
    if (pid_ > 0) (void)end();
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  pid_t pid() const { return pid_; }
  /// Until it has said that; false after twenty seconds.
  bool wait_for(const std::string& words) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < until) {
      {
        const std::lock_guard lock(mutex_);
        if (said_.find(words) != std::string::npos) return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  /// What it had said when it was killed.
  std::string end() {
    ::kill(pid_, SIGKILL);
    return wait();
  }
  /// What it said until it ended by itself.
  std::string wait() {
    ::close(in_);
    ::waitpid(pid_, &status_, 0);
    pid_ = 0;
    reader_.join();
    ::close(out_);
    return std::move(said_);
  }
  int status() const { return status_; }

 private:
  pid_t pid_ = 0;
  int out_ = -1;
  int in_ = -1;
  int status_ = 0;
  std::thread reader_;
  std::mutex mutex_;
  std::string said_;  // Guarded by mutex_ until the reader is joined.
};

/// Everything that processes said one after the other.
struct Ledger {
  std::set<std::uint64_t> accepted;
  std::set<std::uint64_t> done;
  std::map<std::uint64_t, std::uint64_t> token;
  std::uint64_t largest = 0;
  int errors = 0;

  void read(const std::string& said) {
    std::istringstream lines(said);
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string what;
      std::uint64_t number = 0;
      words >> what >> number;
      if (what == "a") {
        accepted.insert(number);
        largest = std::max(largest, number);
      } else if (what == "t") {
        std::uint64_t mine = 0;
        words >> mine;
        largest = std::max(largest, number);
        // Nothing that was done runs again, and tokens rise.
        CHECK_MESSAGE(!done.contains(number), line);
        CHECK_MESSAGE(mine > token[number], line);
        token[number] = mine;
      } else if (what == "d") {
        CHECK_MESSAGE(done.insert(number).second, line);
      } else if (what == "error") {
        ++errors;
        MESSAGE(line);
      }
    }
  }
};

/// Processes that share a journal one after the other, each of them killed at a moment of its own.
void kill_rounds(int rounds, const std::string& durability, std::uint32_t seed) {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  Ledger ledger;
  std::mt19937 random(seed);
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    Host host({"run", path, durability, std::to_string(ledger.largest + 1000)});
    // Now and then while it makes the file or reads it, mostly while it works.
    if (round % 4 != 0) {
      REQUIRE(host.wait_for("a "));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % (round % 4 == 0 ? 30'000 : 60'000)));
    ledger.read(host.end());
    REQUIRE(ledger.errors == 0);
  }
  Host host({"drain", path});
  const auto said = host.wait();
  CHECK(host.status() == 0);
  ledger.read(said);
  std::set<std::uint64_t> over;
  std::istringstream lines(said);
  std::string line;
  bool summed = false;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "state") {
      std::uint64_t number = 0;
      std::string state;
      std::uint64_t token = 0;
      words >> number >> state >> token;
      CHECK_MESSAGE(state == "done", line);
      CHECK_MESSAGE(token >= ledger.token[number], line);
      CHECK(over.insert(number).second);
    } else if (what == "sum") {
      std::uint64_t accepted = 0;
      std::uint64_t known = 0;
      words >> accepted >> known;
      CHECK(accepted == known);
      CHECK(accepted == over.size());
      summed = true;
    }
  }
  CHECK(summed);
  for (const auto number : ledger.accepted) CHECK_MESSAGE(over.contains(number), number);
  for (const auto number : ledger.done) CHECK_MESSAGE(over.contains(number), number);
  CHECK(ledger.accepted.size() > static_cast<std::size_t>(rounds));
  MESSAGE(rounds << " kills; " << ledger.accepted.size() << " jobs were accepted, "
                 << over.size() - ledger.accepted.size() << " more without the answer");
}

/// What a host said that ran out of room, and that its journal is whole afterwards.
void check_filled(const std::string& said, const std::string& path, const std::set<int>& statuses) {
  Ledger ledger;
  ledger.read(said);
  CHECK(ledger.errors == 0);
  CHECK(ledger.accepted.size() > 10);
  const auto refused = said.find("\nrefused ");
  REQUIRE_MESSAGE(refused != std::string::npos, said.substr(0, 500));
  CHECK_MESSAGE(statuses.contains(std::atoi(said.c_str() + refused + 9)), said.substr(refused, 200));
  CHECK(said.find(fmt::format("accepted {}\n", ledger.accepted.size())) != std::string::npos);
  // With room again, all of it is there.
  Host host({"drain", path});
  const auto drained = host.wait();
  CHECK(host.status() == 0);
  for (const auto number : ledger.accepted) {
    CHECK(drained.find(fmt::format("state {} done", number)) != std::string::npos);
  }
  CHECK(drained.find(fmt::format("sum {0} {0}\n", ledger.accepted.size())) != std::string::npos);
}

}  // namespace

TEST_CASE("a process that is killed at any moment loses no job, and the next one runs none twice") {
  kill_rounds(20, "system", 1);
  kill_rounds(10, "disk", 2);
}

TEST_SUITE("chaos") {
  TEST_CASE("three hundred kills of processes with a journal") {
    kill_rounds(200, "system", 3);
    kill_rounds(100, "disk", 4);
  }
}

TEST_CASE("a journal that may not grow refuses new jobs, and loses none that it accepted") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  for (const std::uint64_t bytes : {700'000, 3'000'000}) {
    CAPTURE(bytes);
    std::filesystem::remove(path);
    std::filesystem::remove(path + "-wal");
    Host host({"full", path, std::to_string(bytes)});
    const auto said = host.wait();
    CHECK(host.status() == 0);
    check_filled(said, path, {static_cast<int>(Status::io_error), static_cast<int>(Status::disk_full)});
  }
}

TEST_CASE("a journal on a full disk refuses new jobs as disk full, and loses none that it accepted") {
  const TemporaryFolder folder;
  const auto disk = folder / "disk";
  REQUIRE(::mkdir(disk.c_str(), 0700) == 0);
  // Takes rights that a build machine may not give.
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=2m") != 0) {
    MESSAGE("no file system of its own can be mounted here; the limit of a file's size is tried instead");
    return;
  }
  struct Unmount {
    const std::string& at;
    ~Unmount() { ::umount2(at.c_str(), MNT_DETACH); }
  } const unmount{disk};
  const auto path = disk + "/journal";
  Host host({"room", path});
  const auto said = host.wait();
  CHECK(host.status() == 0);
  REQUIRE(::mount("tmpfs", disk.c_str(), "tmpfs", MS_REMOUNT, "size=64m") == 0);
  check_filled(said, path, {static_cast<int>(Status::disk_full)});
}

TEST_CASE("a journal that may only be read is refused, and stays as it is") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  {
    Host host({"full", path, "500000"});
    (void)host.wait();
  }
  const auto before = file_text(path);
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
  REQUIRE(::chmod(path.c_str(), 0444) == 0);
  Host host({"open", path});
  const auto said = host.wait();
  if (host.status() != 0) {
    MESSAGE("the rights to write cannot be given up here");
    return;
  }
  CHECK_MESSAGE(said.find(fmt::format("status {} ", static_cast<int>(Status::unauthorised))) == 0, said);
  CHECK(file_text(path) == before);
}

TEST_CASE("who opens a journal that another process has is told which, and gets it when that one is gone") {
  const TemporaryFolder folder;
  const auto path = folder / "journal";
  const auto open = [&] {
    MemoryQueueOptions options;
    options.journal = JournalOptions{path, Durability::system, {}};
    return MemoryQueue::create(std::move(options));
  };
  Host host({"hold", path});
  REQUIRE(host.wait_for("held"));
  const auto opened = open();
  REQUIRE(opened.has_error());
  CHECK(opened.error().status == Status::locked);
  CHECK_MESSAGE(opened.error().message.find(fmt::format("process {}", host.pid())) != std::string::npos,
                opened.error().message);
  (void)host.end();
  CHECK(open().has_value());
}
