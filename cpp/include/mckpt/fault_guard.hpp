// Touching memory that may be a mapping of a file, which somebody else may truncate at any moment.
//
// A load from a page that its file has lost raises SIGBUS, which ends the process. One cannot ask beforehand: the file
// may shrink between the question and the load. So loops over such memory run under a guard, which turns the signal
// into a return value: PostgreSQL, Java and ClickHouse do the same. Because whoever reads a mapping for the program
// itself has no guard, such a signal outside of one remains what it was.
//
// How it works. The guard notes for its thread where to return to (sigsetjmp); the handler jumps there when the kernel
// reports a fault in a thread that has a guard. Our handler is in place only while some thread of the process has a
// guard: at any other time the signal belongs to whoever had it before, and who takes or leaves it meanwhile (Python's
// faulthandler, a JVM) sees nothing of us. A SIGBUS that is not ours, in another thread or sent by a process, makes the
// handler put back the action that it found and let the signal happen again, with exactly the effects that it would
// have had.
#pragma once

#include <cstddef>
#include <memory>
#include <type_traits>

namespace mckpt {

// Calls leaf(context), and returns null; or, where that touches memory that is gone, leaves it at once and returns the
// address. May be called from any number of threads at once, in which SIGBUS is not blocked.
[[nodiscard]] const std::byte* lost_address(void (*leaf)(void*), void* context) noexcept;

// The same for leaf(). It is left by a jump that runs no destructors: it must not allocate, lock, throw or own
// anything, nor call what does. What it was writing to is then undefined.
template <class Leaf>
[[nodiscard]] const std::byte* lost_address(Leaf leaf) noexcept {
  static_assert(std::is_trivially_destructible_v<Leaf>);
  return lost_address([](void* context) { (*static_cast<Leaf*>(context))(); }, std::addressof(leaf));
}

}  // namespace mckpt
