// Cards of the fake NVML, as a test drives them.
#pragma once

#include "fake_nvml/fake_nvml.h"
#include "support/files.hpp"

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace gf::test {

/// Memory that the fake library reads, named to it by the environment. One at a time.
class FakeCards {
 public:
  explicit FakeCards(std::uint64_t count) {
    const auto path = folder_ / "cards";
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || ::ftruncate(file, sizeof(fake_nvml_state)) != 0) throw std::runtime_error("no file " + path);
    void* const mapped = ::mmap(nullptr, sizeof(fake_nvml_state), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    if (mapped == MAP_FAILED) throw std::runtime_error("not mapped: " + path);
    state_ = static_cast<fake_nvml_state*>(mapped);
    set(state_->card_count, count);
    ::setenv(FAKE_NVML_VARIABLE, path.c_str(), 1);
  }
  ~FakeCards() {
    ::unsetenv(FAKE_NVML_VARIABLE);
    ::munmap(state_, sizeof *state_);
  }
  FakeCards(const FakeCards&) = delete;
  FakeCards& operator=(const FakeCards&) = delete;

  fake_nvml_state& state() { return *state_; }
  fake_nvml_card& card(std::size_t index) { return state_->cards[index]; }
  static void set(std::uint64_t& word, std::uint64_t value) { __atomic_store_n(&word, value, __ATOMIC_RELEASE); }
  static std::uint64_t get(const std::uint64_t& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }

 private:
  TemporaryFolder folder_;
  fake_nvml_state* state_ = nullptr;
};

}  // namespace gf::test
