// What differs by operating system, so that a port has one place to look.
#pragma once

#include <cstdint>
#include <string>
#include <thread>

namespace gf {

/// Absolute path of the shared object (or program) that holds this code, with links resolved; empty when unknown.
std::string own_object_path();

/// Cores that this process may run on, at least 1.
std::uint32_t usable_cores() noexcept;

/// Peak and present resident memory of the process in bytes; 0 when unknown.
std::uint64_t peak_resident_bytes() noexcept;
std::uint64_t resident_bytes() noexcept;

/// Memory of the machine in bytes; 0 when unknown.
std::uint64_t physical_memory_bytes() noexcept;

/// How a thread of ours lives in a host's process: every signal blocked, and floating-point environment of its own
/// (hosts set flush-to-zero and rounding modes, and threads inherit them). The first line of every thread function.
void adopt_thread_manners(const char* name) noexcept;

/// Starts a thread that is born with every signal blocked: blocking in the thread itself would leave a gap.
/// Throws std::system_error like std::thread.
template <class Body>
std::thread start_thread(const char* name, Body&& body);

/// Blocks all signals of the calling thread while it lives; threads that it starts inherit the block.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept;
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  alignas(16) unsigned char saved_[128];  // A sigset_t, whose header stays out of this one.
};

/// Sets the default floating-point environment (round to nearest, no flush-to-zero, exceptions masked) for this scope.
class DefaultFloatingPoint {
 public:
  DefaultFloatingPoint() noexcept;
  ~DefaultFloatingPoint();
  DefaultFloatingPoint(const DefaultFloatingPoint&) = delete;
  DefaultFloatingPoint& operator=(const DefaultFloatingPoint&) = delete;

 private:
  alignas(16) unsigned char saved_[64];  // A fenv_t.
};

template <class Body>
std::thread start_thread(const char* name, Body&& body) {
  const SignalsBlocked blocked;
  const DefaultFloatingPoint plain;
  return std::thread([name, body = std::forward<Body>(body)]() mutable {
    adopt_thread_manners(name);
    body();
  });
}

}  // namespace gf
