#include "handles.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace {

struct thing;
struct other;
using Table = gf::capi::HandleTable<thing, int>;

}  // namespace

TEST_CASE("a handle finds its object until it is taken, and never after") {
  Table table;
  const auto object = std::make_shared<int>(7);
  auto* handle = table.insert(object);
  REQUIRE(handle != nullptr);
  CHECK(table.find(handle) == object);
  CHECK(table.take(handle) == object);
  CHECK(table.find(handle) == nullptr);
  CHECK(table.take(handle) == nullptr);
  CHECK(object.use_count() == 1);
}

TEST_CASE("a slot that is used again gives another handle, and the old one stays stale") {
  Table table;
  auto* first = table.insert(std::make_shared<int>(1));
  table.take(first);
  std::set<thing*> seen = {first};
  for (int round = 0; round < 1000; ++round) {
    auto* handle = table.insert(std::make_shared<int>(round));
    CHECK(seen.insert(handle).second);
    CHECK(table.find(first) == nullptr);
    CHECK(*table.take(handle) == round);
  }
}

TEST_CASE("NULL, small numbers, addresses and random values are no handles") {
  Table table;
  std::vector<thing*> handles;
  for (int index = 0; index < 100; ++index) handles.push_back(table.insert(std::make_shared<int>(index)));
  CHECK(table.find(nullptr) == nullptr);
  int on_stack = 0;
  CHECK(table.find(reinterpret_cast<thing*>(&on_stack)) == nullptr);
  for (std::uint64_t value = 1; value < 1000; ++value) CHECK(table.find(reinterpret_cast<thing*>(value)) == nullptr);
  std::mt19937_64 random(1);
  for (int round = 0; round < 100000; ++round) {
    const auto value = reinterpret_cast<thing*>(random());
    REQUIRE(table.find(value) == nullptr);
    REQUIRE(table.take(value) == nullptr);
  }
  for (int index = 0; index < 100; ++index) CHECK(*table.find(handles[static_cast<std::size_t>(index)]) == index);
}

TEST_CASE("a handle of another table is as good as none") {
  Table table;
  gf::capi::HandleTable<other, int> others;
  for (int index = 0; index < 50; ++index) {
    auto* foreign = others.insert(std::make_shared<int>(index));
    table.insert(std::make_shared<int>(index));
    CHECK(table.find(reinterpret_cast<thing*>(foreign)) == nullptr);
  }
}

TEST_CASE("an object outlives its handle while a call holds a share") {
  Table table;
  auto* handle = table.insert(std::make_shared<int>(3));
  const auto share = table.find(handle);
  table.take(handle);
  CHECK(*share == 3);
}

TEST_CASE("threads that insert, find and take at the same time meet their own objects alone") {
  Table table;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&table, &wrong, thread] {
      for (int round = 0; round < 5000; ++round) {
        const int value = thread * 100000 + round;
        auto* handle = table.insert(std::make_shared<int>(value));
        const auto found = table.find(handle);
        if (!found || *found != value) ++wrong;
        if (!table.take(handle) || table.find(handle) || table.take(handle)) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
}
