// A device that is late, and that fails when it is told to.
#pragma once

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "device/device.hpp"
#include "mckpt/error.hpp"
#include "support.hpp"

namespace mckpt::testing {

// Does nothing until somebody waits for it, and then no more than it must: copies read their sources as late as they
// can, so that a buffer that is changed too early, or a caller that does not wait, shows in what arrives. Device
// addresses are host addresses. Uses that a driver would answer with a crash are counted as faults.
class FakeDevice final : public Device {
 public:
  // Lets `calls` calls fail, from this one of those that can fail on, counted from 1; 0: none.
  void fail_at(std::size_t call, std::size_t calls = 1) { first_failure_ = call, failures_ = calls; }
  void refuse_to_pin() { refuses_ = true; }

  [[nodiscard]] std::size_t calls() const { return calls_; }
  [[nodiscard]] const std::vector<std::string>& faults() const { return faults_; }
  [[nodiscard]] std::size_t copies() const { return copies_; }
  // What exists: streams, events, page-locked memory, scopes.
  [[nodiscard]] std::size_t things() const { return streams_.size() + events_.size() + pinned_.size() + inside_; }
  [[nodiscard]] std::size_t pinned_bytes() const { return pinned_bytes_; }
  [[nodiscard]] std::size_t in_flight() const {
    std::size_t copies = 0;
    for (const auto& [stream, work] : streams_)
      for (const Work& item : work) copies += item.is_copy ? 1 : 0;
    return copies;
  }

  // A stream of somebody else's, with work that is done when somebody waits for it.
  DeviceStream stream_of(std::function<void()> work) {
    const std::scoped_lock lock(mutex_);
    streams_[++last_handle_].push_back({std::move(work)});
    return last_handle_;
  }
  // Its work is done now, if nobody has waited for it.
  void end(DeviceStream stream) {
    const std::scoped_lock lock(mutex_);
    run(stream, last_ticket_);
    streams_.erase(stream);
  }

  void enter() override {
    const std::scoped_lock lock(mutex_);
    count("enter");
    ++inside_;
    ++depth();
  }
  void leave() noexcept override {
    const std::scoped_lock lock(mutex_);
    --inside_;
    --depth();
  }

  bool pin(std::span<std::byte> memory) override {
    const std::scoped_lock lock(mutex_);
    require_scope("pin");
    if (refuses_) return false;
    pinned_.insert(memory.data());
    pinned_bytes_ += memory.size();
    return true;
  }
  void unpin(std::span<std::byte> memory) noexcept override {
    const std::scoped_lock lock(mutex_);
    require_scope("unpin");
    if (pinned_.erase(memory.data()) == 0) faults_.emplace_back("unpinned what was not pinned");
    pinned_bytes_ -= memory.size();
  }

  DeviceStream make_stream() override {
    const std::scoped_lock lock(mutex_);
    require_scope("make_stream");
    count("make_stream");
    streams_[++last_handle_];
    return last_handle_;
  }
  void destroy_stream(DeviceStream stream) noexcept override {
    const std::scoped_lock lock(mutex_);
    require_scope("destroy_stream");
    if (!streams_[stream].empty()) faults_.emplace_back("destroyed a stream with work in flight");
    streams_.erase(stream);
  }
  void drain(DeviceStream stream) noexcept override {
    const std::scoped_lock lock(mutex_);
    require_scope("drain");
    run(stream, last_ticket_);
  }

  DeviceEvent make_event() override {
    const std::scoped_lock lock(mutex_);
    require_scope("make_event");
    count("make_event");
    events_[static_cast<DeviceEvent>(++last_handle_)] = {};
    return static_cast<DeviceEvent>(last_handle_);
  }
  void destroy_event(DeviceEvent event) noexcept override {
    const std::scoped_lock lock(mutex_);
    require_scope("destroy_event");
    events_.erase(event);
  }
  void record(DeviceEvent event, DeviceStream stream) override {
    const std::scoped_lock lock(mutex_);
    require_scope("record");
    count("record");
    events_.at(event) = {stream, last_ticket_};
  }
  void follow(DeviceStream stream, DeviceEvent event) override {
    const std::scoped_lock lock(mutex_);
    require_scope("follow");
    count("follow");
    const Mark mark = events_.at(event);
    enqueue(stream, {[this, mark] { run(mark.stream, mark.ticket); }});
  }
  bool has_happened(DeviceEvent event) override {
    const std::scoped_lock lock(mutex_);
    require_scope("has_happened");
    count("has_happened");
    const Mark mark = events_.at(event);
    const auto work = streams_.find(mark.stream);
    return work == streams_.end() || work->second.empty() || work->second.front().ticket > mark.ticket;
  }
  void wait(DeviceEvent event) override {
    const std::scoped_lock lock(mutex_);
    require_scope("wait");
    count("wait");
    const Mark mark = events_.at(event);
    run(mark.stream, mark.ticket);
  }

  void copy(DeviceAddress dest, bytes_view source, DeviceStream stream) override {
    const std::scoped_lock lock(mutex_);
    require_scope("copy");
    count("copy");
    ++copies_;
    enqueue(stream,
            {[dest, source] { std::memcpy(reinterpret_cast<void*>(dest), source.data(), source.size()); }, true});
  }

 private:
  struct Work {
    std::function<void()> run;
    bool is_copy = false;
    std::uint64_t ticket = 0;
  };
  struct Mark {
    DeviceStream stream = 0;
    std::uint64_t ticket = 0;
  };

  static std::size_t& depth() {
    thread_local std::size_t scopes = 0;
    return scopes;
  }

  void require_scope(const char* call) noexcept {
    if (depth() == 0) faults_.emplace_back(std::string(call) + " outside of a scope");
  }

  void count(const char* call) {
    ++calls_;
    if (first_failure_ != 0 && calls_ >= first_failure_ && calls_ < first_failure_ + failures_)
      throw Error(ErrorCode::kDevice, std::string("FAKE_ERROR (") + call + ")");
  }

  void enqueue(DeviceStream stream, Work work) {
    work.ticket = ++last_ticket_;
    streams_.at(stream).push_back(std::move(work));
  }

  // Does what is in a stream up to a ticket.
  void run(DeviceStream stream, std::uint64_t ticket) {
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return;
    while (!found->second.empty() && found->second.front().ticket <= ticket) {
      const Work work = std::move(found->second.front());
      found->second.pop_front();
      work.run();
    }
  }

  std::recursive_mutex mutex_;
  std::map<DeviceStream, std::deque<Work>> streams_;
  std::map<DeviceEvent, Mark> events_;
  std::set<std::byte*> pinned_;
  std::vector<std::string> faults_;
  std::size_t pinned_bytes_ = 0;
  std::size_t inside_ = 0;
  std::size_t calls_ = 0;
  std::size_t copies_ = 0;
  std::size_t first_failure_ = 0;
  std::size_t failures_ = 0;
  bool refuses_ = false;
  DeviceStream last_handle_ = 0;
  std::uint64_t last_ticket_ = 0;
};

}  // namespace mckpt::testing
