#include "error/crash_note.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using gf::error::CrashNote;

namespace {

std::string note_of(const CrashNote& note) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::string out;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
      out.append(buffer, static_cast<std::size_t>(got));
  });
  CHECK(note.write(ends[1]));
  close(ends[1]);
  reader.join();
  close(ends[0]);
  return out;
}

CrashNote* crashing = nullptr;
int crash_descriptor = -1;

}  // namespace

TEST_CASE("the note has the memory, the running jobs and the last lines, oldest first") {
  CrashNote note;
  note.set_memory(12345, 0xFFFFFFFFFFFFFFFF);
  note.job_begun({1, 0xabc});
  note.job_begun({2, 2});
  note.job_ended({2, 2});
  for (int index = 0; index < 100; ++index) note.keep("line " + std::to_string(index) + "\n");
  note.keep(std::string(1000, 'x'));
  const auto text = note_of(note);
  CHECK(text.find("memory: 12345 bytes held, limit 18446744073709551615\n") != std::string::npos);
  CHECK(text.find("running jobs:\n  00000000000000010000000000000abc\nlast") != std::string::npos);
  CHECK(text.find("line 36\n") == std::string::npos);
  CHECK(text.find("  line 37\n  line 38\n") != std::string::npos);
  CHECK(text.find("  " + std::string(CrashNote::line_bytes, 'x') + "\nend of note\n") != std::string::npos);
}

TEST_CASE("more jobs than are remembered do no harm, and a descriptor that is closed is told") {
  CrashNote note;
  for (std::uint64_t job = 1; job <= 100; ++job) note.job_begun({job, 0});
  for (std::uint64_t job = 1; job <= 100; ++job) note.job_ended({job, 0});
  CHECK(note_of(note).find("running jobs:\nlast") != std::string::npos);
  CHECK_FALSE(note.write(-1));
}

TEST_CASE("notes are whole while lines are kept and jobs come and go") {
  CrashNote note;
  std::atomic<bool> over{false};
  const auto keep_lines = [&] {
    for (int index = 0; !over; ++index)
      note.keep("begin " + std::string(static_cast<std::size_t>(index % 200), 'a') + " end\n");
  };
  std::thread lines(keep_lines);
  std::thread more_lines(keep_lines);
  std::thread jobs([&] {
    for (std::uint64_t index = 1; !over; ++index) {
      note.job_begun({index, index});
      note.job_ended({index, index});
    }
  });
  for (int turn = 0; turn < 20; ++turn) {
    const auto text = note_of(note);
    CHECK(text.ends_with("end of note\n"));
    auto at = text.find("oldest first:\n") + 14;
    while (at < text.size() && !text.substr(at).starts_with("end of note")) {
      const auto end = text.find('\n', at);
      const auto line = text.substr(at, end - at);
      CHECK(line.starts_with("  begin "));
      CHECK(line.ends_with(" end"));
      at = end + 1;
    }
  }
  over = true;
  lines.join();
  more_lines.join();
  jobs.join();
}

TEST_CASE("a host's handler writes it in the middle of a crash") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const auto child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    close(ends[0]);
    static CrashNote note;
    crashing = &note;
    crash_descriptor = ends[1];
    note.keep("the last words\n");
    std::signal(SIGSEGV, [](int) {
      crashing->write(crash_descriptor);
      _exit(3);
    });
    std::raise(SIGSEGV);
    _exit(4);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
  CHECK(text.find("  the last words\nend of note\n") != std::string::npos);
}
