#include "torch/allocator.hpp"
#include "fixtures.hpp"
#include "torch/run.hpp"

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <thread>
#include <vector>

namespace {

using namespace gf::torch;

constexpr std::uint32_t cpu = 0;

}  // namespace

DOCTEST_TEST_CASE("tensors are charged while they live, to whom they were taken for") {
  DOCTEST_REQUIRE(ledger_allocator_is_installed());
  support::FileHost one;
  support::FileHost two;
  const Host first(one.table());
  const Host second(two.table());
  {
    const Charging charging(first, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
    auto x = at::empty({1000});
    DOCTEST_CHECK(one.held_bytes() == 4000);
    DOCTEST_CHECK(charging.bytes() == 4000);
    {
      const Charging inner(second, cpu, GF_BACKEND_MEMORY_WEIGHTS);
      const auto weights = at::empty({50'000});  // Of pages of its own.
      DOCTEST_CHECK(reinterpret_cast<std::uintptr_t>(weights.data_ptr()) % 64 == 0);
      DOCTEST_CHECK(two.held_bytes() == 200'000);
      x.reset();  // Freed here, and given back there.
      DOCTEST_CHECK(one.held_bytes() == 0);
      DOCTEST_CHECK(inner.bytes() == 200'000);
    }
    DOCTEST_CHECK(two.held_bytes() == 0);
    const auto y = at::empty({10});
    DOCTEST_CHECK(one.held_bytes() == 40);
    auto moved = std::optional(at::empty({10}));
    std::thread([&] { moved.reset(); }).join();
    DOCTEST_CHECK(one.held_bytes() == 40);
  }
  DOCTEST_CHECK(one.held_bytes() == 0);
  DOCTEST_CHECK(one.peak_bytes() == 4000);
}

DOCTEST_TEST_CASE("what would pass the limit is refused with libtorch's own error, and nothing is taken") {
  support::FileHost files;
  files.limit_bytes = 10'000;
  const Host host(files.table());
  const Charging charging(host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
  const auto kept = at::empty({2000});
  DOCTEST_CHECK_THROWS_AS(at::empty({1000}), c10::OutOfMemoryError);
  try {
    (void)at::empty({1000});
  } catch (const c10::OutOfMemoryError& error) {
    DOCTEST_CHECK(std::string(error.what_without_backtrace()) == "4000 bytes do not fit");
  }
  DOCTEST_CHECK(files.held_bytes() == 8000);
  const auto fits = at::empty({500});
  DOCTEST_CHECK(files.held_bytes() == 10'000);
}

DOCTEST_TEST_CASE("what the system does not have is an error that gives the promise back") {
  support::FileHost files;
  const Host host(files.table());
  const Charging charging(host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
  auto* const allocator = c10::GetCPUAllocator();
  DOCTEST_CHECK_THROWS_AS((void)allocator->allocate(std::numeric_limits<std::size_t>::max() - 100), c10::Error);
  DOCTEST_CHECK(files.held_bytes() == 0);
}

DOCTEST_TEST_CASE("weights are taken from their promise, and past it from the ledger") {
  support::FileHost files;
  files.limit_bytes = 10'000;
  const Host host(files.table());
  auto promise = Charge::reserve(host, cpu, GF_BACKEND_MEMORY_WEIGHTS, 6000).value();
  std::vector<at::Tensor> kept;
  {
    const Charging charging(host, cpu, GF_BACKEND_MEMORY_WEIGHTS, &promise);
    kept.push_back(at::empty({1000}));
    DOCTEST_CHECK(files.held_bytes() == 6000);
    DOCTEST_CHECK(promise.bytes() == 2000);
    kept.push_back(at::empty({1000}));  // More than is left of the promise.
    DOCTEST_CHECK(files.held_bytes() == 10'000);
    DOCTEST_CHECK_THROWS_AS(at::empty({1000}), c10::OutOfMemoryError);
  }
  promise.end();
  DOCTEST_CHECK(files.held_bytes() == 8000);
  kept.clear();
  DOCTEST_CHECK(files.held_bytes() == 0);
}

DOCTEST_TEST_CASE("what outlives its host is given back when the host goes, once") {
  support::FileHost files;
  at::Tensor kept;
  at::Tensor none;
  const auto before = uncharged_bytes();
  {
    const Host host(files.table());
    const Charging charging(host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
    kept = at::ones({100});
    none = at::empty({0});
    DOCTEST_CHECK(files.held_bytes() == 400);
  }
  DOCTEST_CHECK(files.held_bytes() == 0);
  DOCTEST_CHECK(kept.sum().item<float>() == 100);
  kept.reset();
  DOCTEST_CHECK(files.held_bytes() == 0);
  DOCTEST_CHECK(uncharged_bytes() == before);
  const auto nobodys = at::empty({10});
  DOCTEST_CHECK(uncharged_bytes() == before + 40);
}

DOCTEST_TEST_CASE("a picture is charged whole: nothing of it is taken behind the ledger's back, and nothing stays") {
  const c10::InferenceMode inference;
  support::FileHost files;
  const Host host(files.table());
  const fixtures::TestCall call;
  std::uint64_t weights = 0;
  const auto uncharged = uncharged_bytes();
  std::vector<std::uint64_t> after;  // Each picture.
  {
    const Charging charging(host, cpu, GF_BACKEND_MEMORY_ACTIVATIONS);
    const auto model = Model::load(host, fixtures::golden_model().string(), cpu, call.call()).value();
    weights = files.held_bytes();
    DOCTEST_CHECK(model->weight_bytes() == weights);
    for (int i = 0; i < 2; ++i) {
      Prompts prompts;
      prompts.prompt = "a fox";
      const auto conditioning = model->encode(prompts, call.call()).value();
      RunOptions options;
      options.width = options.height = 64;
      options.steps = 2;
      options.scheduler = model->scheduler();
      options.sizes = {64, 64, 0, 0, 64, 64};
      const auto run = Run::start(*model, conditioning, options, call.call()).value();
      DOCTEST_REQUIRE(run->step(call.call()).has_value());
      DOCTEST_REQUIRE(run->step(call.call()).has_value());
      DOCTEST_REQUIRE(run->decode(call.call()).has_value());
      DOCTEST_CHECK(files.peak_bytes() > weights + 100'000);
      DOCTEST_CHECK(uncharged_bytes() == uncharged);
    }
    after.push_back(files.held_bytes());
    DOCTEST_CHECK(files.held_bytes() - weights < 100'000);  // What kernels keep, if anything.
  }
  DOCTEST_CHECK(files.held_bytes() == after.back() - weights);
}
