#include "engine/model_slot.hpp"

#include <utility>

namespace gf::engine {

/// Loads for the job that asked first; the others only wait.
class ModelSlot::Carrier final : public cache::EntryCarrier {
 public:
  Carrier(std::shared_ptr<ModelSlot> slot, const Load& load) : slot_(std::move(slot)), load_(&load) {}

  /// The cache keeps the carrier for longer than the job that brought it lives.
  void forget_job() { load_ = nullptr; }

  Result<cache::Loaded> load(const Cancelled&) override {  // The job's own watcher is asked by `load`.
    if (load_ == nullptr) return Error{Status::internal, "a model was to be loaded for a job that is over", {}};
    auto loaded = std::make_shared<Loaded>();
    GF_TRY(loaded->model, (*load_)());
    loaded->slot = slot_;
    loaded->generation = slot_->loads_.fetch_add(1) + 1;
    slot_->loaded_ = loaded->generation;
    const auto* const model = loaded->model.get();
    return cache::Loaded{std::move(loaded), 0, [model] { return model->weight_bytes(); }};
  }

 private:
  const std::shared_ptr<ModelSlot> slot_;
  const Load* load_;
};

ModelSlot::Loaded::~Loaded() {
  model.reset();
  if (!slot) return;
  auto own = generation;
  slot->loaded_.compare_exchange_strong(own, 0);
}

Result<ModelSlot::Model> ModelSlot::acquire(const std::function<bool()>& cancelled, const Load& load, bool in_parts) {
  cache::EntrySpec spec;
  spec.key = path_;
  spec.kind = cache::EntryKind::model;
  spec.loads_on_use = in_parts;
  const auto carrier = std::make_shared<Carrier>(shared_from_this(), load);
  spec.carrier = carrier;
  spec.pinned = {shared_from_this(), &pinned};
  auto handle = cache_.acquire(spec, cancelled);
  carrier->forget_job();
  if (!handle) return std::move(handle).error();
  return Model(std::move(handle).value());
}

}  // namespace gf::engine
