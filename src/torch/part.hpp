// A part of a model: a network whose weights may go while nobody uses them, and are read again for who comes next. The
// bits are the same each time, since the file is held open and must not have changed.
#pragma once

#include "base/result.hpp"
#include "torch/host.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace gf::torch {

/// What a model does with parts of any kind. Threads: any.
class AnyPart {
 public:
  virtual ~AnyPart() = default;
  /// Gives up the part's own share: the weights go now, or with the last who uses them.
  virtual void let_go() = 0;
};

/// Threads: any. Who asks while another's thread reads the weights waits for that.
template <class Network>
class Part final : public AnyPart {
 public:
  using Make = std::function<Result<std::shared_ptr<Network>>(LoadProgress&)>;

  /// beneath: what the weights were made from, and may share bytes with; it is let go together with this.
  explicit Part(Make make, std::shared_ptr<AnyPart> beneath = nullptr)
      : make_(std::move(make)), beneath_(std::move(beneath)) {}

  /// The network, whose weights are read if need be. Errors: cancelled; over_budget; those of reading.
  Result<std::shared_ptr<Network>> use(LoadProgress& progress) {
    const std::lock_guard lock(mutex_);
    // Let go, but not gone: a second copy would be held beside the first.
    if (!network_) network_ = last_.lock();
    if (!network_) {
      GF_TRY(network_, make_(progress));
      last_ = network_;
    }
    return network_;
  }
  Result<std::shared_ptr<Network>> use(const Call& call) {
    LoadProgress untold{call};
    untold.told = false;
    return use(untold);
  }

  void let_go() override {
    std::shared_ptr<Network> going;  // Freed without the lock.
    {
      const std::lock_guard lock(mutex_);
      going = std::move(network_);
      network_.reset();
    }
    if (beneath_) beneath_->let_go();
  }

 private:
  const Make make_;
  const std::shared_ptr<AnyPart> beneath_;
  std::mutex mutex_;
  std::shared_ptr<Network> network_;  // Guarded by mutex_, as the next.
  std::weak_ptr<Network> last_;
};

}  // namespace gf::torch
