#include "error/thread_slot.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

using gf::error::shared_thread_slot;
using gf::error::thread_slot;

TEST_CASE("threads that live at a time have places of their own or share the last, and places come back") {
  for (int round = 0; round < 3; ++round) {
    std::mutex mutex;
    std::set<std::uint32_t> own;
    int shared = 0;
    std::atomic<int> ready{0};
    std::vector<std::thread> threads;
    for (int index = 0; index < 40; ++index) {
      threads.emplace_back([&] {
        const auto slot = thread_slot();
        CHECK(slot == thread_slot());
        {
          const std::lock_guard lock(mutex);
          if (slot == shared_thread_slot) {
            ++shared;
          } else {
            CHECK(own.insert(slot).second);
          }
        }
        ++ready;
        while (ready < 40) std::this_thread::yield();
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(own.size() >= gf::error::own_thread_slots - 1);  // This thread may have one.
    CHECK(own.size() + static_cast<std::size_t>(shared) == 40);
  }
}
