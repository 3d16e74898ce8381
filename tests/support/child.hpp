// Starts a program of the tests' own, which ends with the test at the latest.
#pragma once

#include <doctest/doctest.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include <sys/prctl.h>
#include <unistd.h>

namespace gf::test {

/// words: the program, looked for along PATH where it has no slash, and its arguments. in_child: runs between fork and
/// exec, so it may do little. Gives the process id, which the caller waits for.
inline pid_t start_child(std::vector<std::string> words, const std::function<void()>& in_child = {}) {
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const auto parent = ::getpid();
  const auto pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    if (in_child) in_child();
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  return pid;
}

}  // namespace gf::test
