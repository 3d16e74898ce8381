// An array that grows without moving what is in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace gf::queue {

/// Elements in pieces of 1024, so that growth costs no copy of a million of them and references stay valid. It never
/// shrinks: its size is the largest that was needed. Threads: not synchronised; its owner guards it.
template <class T>
class Slab {
 public:
  T& operator[](std::uint32_t index) { return pieces_[index / piece][index % piece]; }
  const T& operator[](std::uint32_t index) const { return pieces_[index / piece][index % piece]; }
  /// How many elements there are, used or not.
  std::uint32_t size() const { return static_cast<std::uint32_t>(pieces_.size() * piece); }
  /// At least `count` elements. Throws bad_alloc, and is as before then.
  void reserve(std::uint32_t count) {
    while (size() < count) pieces_.push_back(std::make_unique<T[]>(piece));
  }

 private:
  static constexpr std::uint32_t piece = 1024;
  std::vector<std::unique_ptr<T[]>> pieces_;
};

}  // namespace gf::queue
