#include "error/log_output.hpp"
#include "../../support/files.hpp"

#include "base/files.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using gf::LogLevel;
using gf::Status;
using gf::error::FileOutput;
using gf::error::FileOutputOptions;
using gf::error::LogRecord;
using gf::error::PollOutput;
using gf::test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

LogRecord record_of(std::string_view message) {
  LogRecord record;
  record.module = "m";
  record.message = message;
  return record;
}

std::string read_all(const fs::path& path) { return gf::read_text(path.string(), 1 << 24).value(); }

std::size_t lines_in(const fs::path& path) {
  const auto text = read_all(path);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

TEST_CASE("folders are made, files rotate by size, and only so many older ones are kept") {
  const TemporaryFolder folder;
  FileOutputOptions options;
  options.path = folder / "deep/er/gameforge.log";
  options.max_bytes = 1024;
  options.kept_files = 3;
  // Files that a run before left, also one beyond the limit and one that is not ours.
  fs::create_directories(folder / "deep/er");
  for (const auto* name : {"gameforge.7.log", "gameforge.x.log", "gameforge.2.log", "other.9.log"}) {
    std::ofstream(folder / (std::string("deep/er/") + name)) << "old\n";
  }
  auto output = FileOutput::open(options).value();
  for (int index = 0; index < 200; ++index) {
    REQUIRE(output->write(record_of("line " + std::to_string(index))).has_value());
  }
  REQUIRE(output->flush().has_value());
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder / "deep/er")) {
    names.insert(entry.path().filename());
    if (entry.path().filename().string().starts_with("gameforge.x") || entry.path().filename() == "other.9.log")
      continue;
    CHECK(entry.file_size() <= 1024);
    if (entry.path().filename() != "gameforge.log") CHECK(entry.file_size() > 900);
  }
  CHECK(names == std::set<std::string>{"gameforge.log", "gameforge.1.log", "gameforge.2.log", "gameforge.3.log",
                                       "gameforge.x.log", "other.9.log"});
  const auto newest = read_all(options.path);
  CHECK(newest.find("line 199\n") != std::string::npos);
  CHECK(output->failed_rotations() == 0);
}

TEST_CASE("a file that was deleted or moved away is made again") {
  const TemporaryFolder folder;
  FileOutputOptions options;
  options.path = folder / "a.log";
  auto output = FileOutput::open(options).value();
  REQUIRE(output->write(record_of("one")).has_value());
  REQUIRE(output->flush().has_value());
  fs::remove(options.path);
  output->look_around(0);
  REQUIRE(output->write(record_of("two")).has_value());
  REQUIRE(output->flush().has_value());
  CHECK(read_all(options.path).find("two") != std::string::npos);
  fs::rename(options.path, folder / "b.log");
  output->look_around(0);
  REQUIRE(output->write(record_of("three")).has_value());
  REQUIRE(output->flush().has_value());
  CHECK(lines_in(options.path) == 1);
  CHECK(lines_in(folder / "b.log") == 1);
}

TEST_CASE("a full disk stops neither the log nor the older files, and what fits later is written") {
  // RLIMIT_FSIZE makes writes fail as a full disk does, for one process; so in a child.
  const TemporaryFolder folder;
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    FileOutputOptions options;
    options.path = folder / "a.log";
    options.max_bytes = 1 << 20;
    auto output = FileOutput::open(options).value();
    const rlimit limit{4096, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(77);
    int failed = 0;
    for (int index = 0; index < 200; ++index) {
      (void)output->write(record_of("line " + std::to_string(index)));
      if (!output->flush()) ++failed;
    }
    const rlimit more{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &more);
    const bool good = output->flush().has_value();
    output.reset();
    _exit(failed > 0 && good ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(lines_in(folder / "a.log") == 200);
}

TEST_CASE("where no new file can be made the old one goes on, and is not lost") {
  const TemporaryFolder folder;
  FileOutputOptions options;
  options.path = folder / "a.log";
  options.max_bytes = 1024;
  auto output = FileOutput::open(options).value();
  // A folder of the new file's name cannot be opened as a file, whoever runs this.
  fs::create_directory(folder / "a.new.log");
  for (int index = 0; index < 100; ++index) REQUIRE(output->write(record_of("line")).has_value());
  REQUIRE(output->flush().has_value());
  CHECK(output->failed_rotations() > 0);
  CHECK(output->failed_rotations() < 50);
  CHECK(lines_in(options.path) == 100);
  fs::remove(folder / "a.new.log");
  for (int index = 0; index < 20; ++index) REQUIRE(output->write(record_of("line")).has_value());
  REQUIRE(output->flush().has_value());
  CHECK(fs::exists(folder / "a.1.log"));
}

TEST_CASE("what is no place for a log is refused by name") {
  const TemporaryFolder folder;
  FileOutputOptions options;
  CHECK(FileOutput::open(options).error().status == Status::invalid_argument);
  options.path = folder.path() + "/";
  CHECK(FileOutput::open(options).error().status == Status::invalid_argument);
  options.path = folder / "a.log";
  options.max_bytes = 1023;
  CHECK(FileOutput::open(options).error().message.starts_with("max_bytes is 1023"));
  options.max_bytes = 1024;
  options.kept_files = 1000;
  CHECK(FileOutput::open(options).error().message.starts_with("kept_files is 1000"));
  options.kept_files = 1;
  options.path = "/dev/null";
  CHECK(FileOutput::open(options).error().status == Status::unsupported_format);
}

TEST_CASE("a pipe whose reader has gone raises no signal, and is told as an error") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  close(ends[0]);
  std::thread([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);  // As the logger's thread lives.
    gf::error::DescriptorOutput output(ends[1], gf::error::LogFormat::json);
    CHECK(output.write(record_of("x")).has_value());
    CHECK(output.flush().has_error());
    sigset_t pending;
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE) == 0);
  }).join();
  close(ends[1]);
}

TEST_CASE("a ring to poll keeps the newest lines, and tells how many went; a line that is not taken stays") {
  PollOutput output(4);
  for (int index = 0; index < 10; ++index) REQUIRE(output.write(record_of(std::to_string(index))).has_value());
  int shown = 0;
  CHECK(output.poll([&](const PollOutput::Line& line) {
    CHECK(line.message == "6");
    CHECK(line.dropped == 6);
    ++shown;
    return false;
  }));
  std::vector<std::string> messages;
  while (output.poll([&](const PollOutput::Line& line) {
    messages.push_back(line.message);
    return true;
  })) {
  }
  CHECK(messages == std::vector<std::string>{"6", "7", "8", "9"});
}
