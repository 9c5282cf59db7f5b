// Where the bytes of one read go.
#pragma once

#include <cstdint>
#include <span>

#include "block_plan.hpp"
#include "stage_clock.hpp"

namespace mckpt {

// Takes blocks from a FileSource, has a Verifier check them, and passes them on, each in the way and in the portions
// that suit the memory at the other end. Its end waits for what is under way, whatever went wrong.
class Sink {
 public:
  Sink() = default;
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  // The most bytes that it takes in one block: a whole number of chunks.
  [[nodiscard]] virtual std::uint64_t block_bytes() const noexcept = 0;

  // Brings one block to its destinations, or on the way to them. Called by many workers at once, each
  // with a lap of its own, to which all of its time is charged.
  virtual void receive(const ReadBlock& block, std::span<const SpanPart> parts, StageLap& lap) = 0;

  // Returns when everything has arrived. Called once, when all blocks were received.
  virtual void finish() = 0;
};

}  // namespace mckpt
