// A program of the tests' own that does what it is told on a pipe, and is stopped by its process id.
#pragma once

#include "../../support/child.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gf::test {

class HostProcess {
 public:
  explicit HostProcess(std::vector<std::string> words) {
    int in[2];
    int out[2];
    REQUIRE(::pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
    pid_ = start_child(std::move(words), [&] {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
    });
    ::close(in[0]);
    ::close(out[1]);
    to_ = ::fdopen(in[1], "w");
    from_ = ::fdopen(out[0], "r");
  }
  ~HostProcess() {
    kill();
    std::fclose(to_);
    std::fclose(from_);
  }
  HostProcess(const HostProcess&) = delete;
  HostProcess& operator=(const HostProcess&) = delete;

  void tell(const std::string& line) {
    std::fputs((line + "\n").c_str(), to_);
    std::fflush(to_);
  }
  /// The next line; empty where the process has ended.
  std::string hear() {
    char line[1024];
    if (std::fgets(line, sizeof line, from_) == nullptr) return {};
    std::string out = line;
    if (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
  }
  std::string ask(const std::string& line) {
    tell(line);
    return hear();
  }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

}  // namespace gf::test
