// Names that many jobs share, kept once.
#pragma once

#include "queue/slab.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace gf::queue {

/// Gives each name a number, counts who uses it, and forgets the name with its last user. Numbers are reused.
/// Threads: not synchronised; its owner guards it.
class Names {
 public:
  static constexpr std::uint32_t none = 0xFFFF'FFFF;

  /// The name's number, for which there is one user more now. Throws bad_alloc, and has changed nothing then.
  std::uint32_t hold(std::string_view name) {
    auto found = numbers_.find(name);
    if (found == numbers_.end()) {
      const auto number = first_free_ == none ? size_ : first_free_;
      entries_.reserve(number + 1);
      found = numbers_.emplace(std::string(name), number).first;
      auto& entry = entries_[number];
      if (first_free_ == none) {
        ++size_;
      } else {
        first_free_ = entry.next_free;
      }
      entry.name = &found->first;
      entry.users = 0;
    }
    ++entries_[found->second].users;
    return found->second;
  }
  void hold_again(std::uint32_t number) { ++entries_[number].users; }
  /// Whether that was its last user. The name is kept until forget().
  bool let_go(std::uint32_t number) { return --entries_[number].users == 0; }
  bool is_held(std::uint32_t number) const { return entries_[number].users != 0; }
  /// A name without users.
  void forget(std::uint32_t number) {
    auto& entry = entries_[number];
    numbers_.erase(numbers_.find(*entry.name));
    entry.name = nullptr;
    entry.next_free = first_free_;
    first_free_ = number;
  }

  std::uint32_t find(std::string_view name) const {
    const auto found = numbers_.find(name);
    return found == numbers_.end() ? none : found->second;
  }
  const std::string& name(std::uint32_t number) const { return *entries_[number].name; }
  std::size_t count() const { return numbers_.size(); }
  /// One past the largest number that was ever given.
  std::uint32_t size() const { return size_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  struct Entry {
    const std::string* name = nullptr;  // The key in numbers_.
    std::uint32_t users = 0;
    std::uint32_t next_free = none;
  };

  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> numbers_;
  Slab<Entry> entries_;
  std::uint32_t size_ = 0;
  std::uint32_t first_free_ = none;
};

}  // namespace gf::queue
