#include "base/platform.hpp"

#include "base/files.hpp"
#include "base/platform_wait.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cfenv>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <pmmintrin.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <xmmintrin.h>

namespace {

/// Every signal that can be blocked: glibc keeps two for itself, and SIGKILL and SIGSTOP cannot be.
std::vector<int> blockable_signals() {
  std::vector<int> signals;
  for (int signal = 1; signal < 32; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP) signals.push_back(signal);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) signals.push_back(signal);
  return signals;
}

std::vector<int> unblocked_signals() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  std::vector<int> open;
  for (const int signal : blockable_signals()) {
    if (sigismember(&mask, signal) == 0) open.push_back(signal);
  }
  return open;
}

constexpr unsigned flush_to_zero_bits = _MM_FLUSH_ZERO_MASK | _MM_DENORMALS_ZERO_MASK;

/// What a game engine does to its main thread, undone at the end of the test.
class HostileFloatingPoint {
 public:
  HostileFloatingPoint() : saved_(_mm_getcsr()) {
    std::fesetround(FE_UPWARD);
    _mm_setcsr(_mm_getcsr() | flush_to_zero_bits);
  }
  ~HostileFloatingPoint() {
    std::fesetround(FE_TONEAREST);
    _mm_setcsr(saved_);
  }
  HostileFloatingPoint(const HostileFloatingPoint&) = delete;
  HostileFloatingPoint& operator=(const HostileFloatingPoint&) = delete;

 private:
  unsigned saved_;
};

struct Seen {
  std::vector<int> unblocked;
  int rounding = -1;
  unsigned control = 0;
  bool keeps_subnormals = false;
  char name[32] = {};
};

Seen seen_in_thread(const char* name) {
  Seen seen;
  gf::start_thread(name, [&seen] {
    seen.unblocked = unblocked_signals();
    seen.rounding = std::fegetround();
    seen.control = _mm_getcsr();
    volatile float tiny = 1e-38f;
    // Decided here: where the creator compares, a subnormal counts as 0.
    seen.keeps_subnormals = tiny / 16 > 0;
    pthread_getname_np(pthread_self(), seen.name, sizeof seen.name);
  }).join();
  return seen;
}

}  // namespace

TEST_CASE("a thread of ours has every signal blocked, whatever its creator has") {
  REQUIRE(unblocked_signals().size() > 20);
  CHECK(seen_in_thread("gf-test").unblocked.empty());
  CHECK(unblocked_signals().size() > 20);  // The creator's own mask is as it was.
}

TEST_CASE("a thread of ours computes in the default environment though its creator flushes and rounds upward") {
  const HostileFloatingPoint hostile;
  const auto seen = seen_in_thread("gf-test");
  CHECK(seen.rounding == FE_TONEAREST);
  CHECK((seen.control & flush_to_zero_bits) == 0);
  CHECK(seen.keeps_subnormals);
  // And the creator keeps what it set.
  CHECK(std::fegetround() == FE_UPWARD);
  CHECK((_mm_getcsr() & flush_to_zero_bits) == flush_to_zero_bits);
}

TEST_CASE("a plain thread takes over both, which is why ours must not be one") {
  const HostileFloatingPoint hostile;
  int rounding = -1;
  std::vector<int> unblocked;
  std::thread([&] {
    rounding = std::fegetround();
    unblocked = unblocked_signals();
  }).join();
  CHECK(rounding == FE_UPWARD);
  CHECK(unblocked.size() > 20);
}

TEST_CASE("a thread bears its name, and a name that is too long does no harm") {
  CHECK(std::string(seen_in_thread("gf-intake").name) == "gf-intake");
  CHECK(seen_in_thread("a name of more than fifteen characters").unblocked.empty());
}

TEST_CASE("signals are blocked within a scope, and a nested one changes nothing") {
  const auto before = unblocked_signals();
  {
    const gf::SignalsBlocked outer;
    CHECK(unblocked_signals().empty());
    { const gf::SignalsBlocked inner; }
    CHECK(unblocked_signals().empty());
  }
  CHECK(unblocked_signals() == before);
}

TEST_CASE("the default floating-point environment holds within a scope, then the host's is back") {
  const HostileFloatingPoint hostile;
  {
    const gf::DefaultFloatingPoint plain;
    CHECK(std::fegetround() == FE_TONEAREST);
    CHECK((_mm_getcsr() & flush_to_zero_bits) == 0);
  }
  CHECK(std::fegetround() == FE_UPWARD);
  CHECK((_mm_getcsr() & flush_to_zero_bits) == flush_to_zero_bits);
}

TEST_CASE("a body that can only be moved runs, once") {
  int runs = 0;
  auto owned = std::make_unique<int>(5);
  gf::start_thread("gf-test", [&runs, owned = std::move(owned)] { runs += *owned; }).join();
  CHECK(runs == 5);
}

TEST_CASE("the path of this program is absolute and is a file") {
  const auto path = gf::own_object_path();
  REQUIRE_FALSE(path.empty());
  CHECK(path.front() == '/');
  CHECK(gf::is_regular_file(path));
  CHECK(path.find("gf_base_test") != std::string::npos);
}

TEST_CASE("cores are those that the process may use, not those of the machine") {
  cpu_set_t all;
  REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
  CHECK(gf::usable_cores() == static_cast<std::uint32_t>(CPU_COUNT(&all)));
  int first = 0;
  while (CPU_ISSET(first, &all) == 0) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  const auto cores = gf::usable_cores();
  REQUIRE(sched_setaffinity(0, sizeof all, &all) == 0);
  CHECK(cores == 1);
}

TEST_CASE("resident memory grows with what is touched, and the peak is at least that") {
  constexpr std::size_t bytes = 64 << 20;
  const auto before = gf::resident_bytes();
  REQUIRE(before > 0);
  std::vector<char> touched(bytes, 1);
  const auto after = gf::resident_bytes();
  CHECK(touched[bytes / 2] == 1);
  CHECK(after >= before + bytes * 3 / 4);  // A quarter of slack: other pages may be given back meanwhile.
  CHECK(gf::peak_resident_bytes() >= before + bytes * 3 / 4);
}

TEST_CASE("a thread's processor time grows while it computes, and not while it waits") {
  const auto begun_us = gf::thread_cpu_us();
  volatile std::uint64_t sum = 0;
  while (gf::thread_cpu_us() - begun_us < 2000) sum = sum + 1;
  CHECK(sum > 0);
  const auto before_us = gf::thread_cpu_us();
  const std::atomic<std::uint32_t> word{0};
  gf::wait_on(word, 0, 50'000);
  CHECK(gf::thread_cpu_us() - before_us < 50'000);
}
