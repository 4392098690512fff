//===- DriverStream.cpp - streams, events, capture
//-------------------------------------------------------------------===//
//
// A stream is a queue with a thread. Each operation knows which others it comes after: the one before it in its stream,
// those of an event that was waited for, and, by the rule of the default stream, all that other (blocking) streams were
// given before.

#include "tools/ptx-vm/Driver.h"
#include <algorithm>

using namespace ptxvm;

#define RETURN_IF_ERROR(call)                                                                                          \
  if (CUresult result = (call); result != CUDA_SUCCESS)                                                                \
  return result
#define NEED(pointer)                                                                                                  \
  if (!(pointer))                                                                                                      \
  return CUDA_ERROR_INVALID_VALUE

namespace ptxvm {

CUstream_st *streamOf(CUstream handle) {
  const uintptr_t value = reinterpret_cast<uintptr_t>(handle);
  return value <= 2 ? &Driver::get().legacy : handle;
}

static bool isStream(CUstream handle) {
  if (reinterpret_cast<uintptr_t>(handle) <= 2)
    return true;
  Driver &d = Driver::get();
  std::lock_guard lock(d.mutex);
  return std::any_of(d.streams.begin(), d.streams.end(), [&](auto &s) { return s.get() == handle; });
}

static void serve(CUstream_st *stream) {
  std::unique_lock lock(stream->mutex);
  for (;;) {
    stream->work.wait(lock, [&] { return stream->stop || !stream->queue.empty(); });
    if (stream->queue.empty())
      return;
    std::shared_ptr<Operation> op = stream->queue.front();
    stream->queue.pop_front();
    lock.unlock();
    for (auto &before : op->after)
      before->wait();
    op->after.clear();
    op->linger();
    Driver &d = Driver::get();
    if (d.sticky == CUDA_SUCCESS) {
      CUresult result = op->run();
      CUresult none = CUDA_SUCCESS;
      if (result != CUDA_SUCCESS)
        d.sticky.compare_exchange_strong(none, result);
    }
    op->run = nullptr;
    {
      std::lock_guard guard(op->mutex);
      op->done = true;
      op->finished = std::chrono::steady_clock::now();
      op->changed.notify_all();
    }
    lock.lock();
  }
}

CUresult enqueue(CUstream handle, std::function<CUresult()> run, std::shared_ptr<Operation> *operation,
                 const std::function<void(CUgraphNode_st &)> &change, bool isLate) {
  if (!isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  Driver &d = Driver::get();
  CUstream_st *stream = streamOf(handle);
  if (stream->capture) {
    if (stream->captureInvalid)
      return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    auto node = std::make_unique<CUgraphNode_st>();
    node->graph = stream->capture;
    node->run = std::move(run);
    node->after = stream->captureAfter;
    if (change)
      change(*node);
    stream->captureAfter = {node.get()};
    stream->capture->nodes.push_back(std::move(node));
    return CUDA_SUCCESS;
  }
  std::lock_guard lock(d.mutex);
  auto op = std::make_shared<Operation>();
  op->run = std::move(run);
  op->isLate = isLate;
  if (stream->isLegacy) {
    for (auto &other : d.streams) {
      if (other->capture && !(other->flags & CU_STREAM_NON_BLOCKING))
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      if (!(other->flags & CU_STREAM_NON_BLOCKING) && other->last)
        op->after.push_back(other->last);
    }
  } else if (!(stream->flags & CU_STREAM_NON_BLOCKING) && d.legacy.last) {
    op->after.push_back(d.legacy.last);
  }
  op->previous = stream->last;
  if (!isLate)
    op->hurry();
  std::lock_guard guard(stream->mutex);
  stream->last = op;
  stream->queue.push_back(op);
  if (!stream->thread.joinable())
    stream->thread = std::thread(serve, stream);
  stream->work.notify_one();
  if (operation)
    *operation = op;
  return CUDA_SUCCESS;
}

CUresult synchronizeAll() {
  Driver &d = Driver::get();
  std::vector<std::shared_ptr<Operation>> all;
  {
    std::lock_guard lock(d.mutex);
    for (auto &s : d.streams) {
      if (s->capture)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
      if (s->last)
        all.push_back(s->last);
    }
    if (d.legacy.last)
      all.push_back(d.legacy.last);
  }
  for (auto &op : all)
    op->wait();
  return d.sticky;
}

} // namespace ptxvm

// --- streams ---

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned int flags, int priority) {
  RETURN_IF_ERROR(ready());
  NEED(stream && flags <= CU_STREAM_NON_BLOCKING);
  (void)priority;
  Driver &d = Driver::get();
  std::lock_guard lock(d.mutex);
  d.streams.push_back(std::make_unique<CUstream_st>());
  d.streams.back()->flags = flags;
  *stream = d.streams.back().get();
  return CUDA_SUCCESS;
}
CUresult cuStreamCreate(CUstream *stream, unsigned int flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

CUresult cuStreamDestroy_v2(CUstream handle) {
  RETURN_IF_ERROR(ready());
  if (!isStream(handle) || streamOf(handle)->isLegacy)
    return CUDA_ERROR_INVALID_HANDLE;
  {
    std::lock_guard guard(handle->mutex);
    handle->stop = true;
    handle->work.notify_one();
  }
  if (handle->thread.joinable())
    handle->thread.join(); // its work is done first
  Driver &d = Driver::get();
  std::lock_guard lock(d.mutex);
  d.streams.remove_if([&](auto &s) { return s.get() == handle; });
  return CUDA_SUCCESS;
}

static std::shared_ptr<Operation> lastOf(CUstream_st *stream) {
  std::lock_guard lock(Driver::get().mutex);
  return stream->last;
}

CUresult cuStreamSynchronize(CUstream handle) {
  RETURN_IF_ERROR(ready());
  if (!isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  CUstream_st *stream = streamOf(handle);
  if (stream->capture) {
    stream->captureInvalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (stream->isLegacy) // waits for the blocking streams, as its next work would
    RETURN_IF_ERROR(enqueue(handle, [] { return CUDA_SUCCESS; }));
  if (auto op = lastOf(stream))
    op->wait();
  return Driver::get().sticky;
}

CUresult cuStreamQuery(CUstream handle) {
  RETURN_IF_ERROR(ready());
  if (!isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  if (streamOf(handle)->capture)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  auto op = lastOf(streamOf(handle));
  return op && !op->isDone() ? CUDA_ERROR_NOT_READY : Driver::get().sticky.load();
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void *data) {
  RETURN_IF_ERROR(ready());
  NEED(function);
  return enqueue(stream, [=] {
    function(data);
    return CUDA_SUCCESS;
  });
}

// --- events ---

CUresult cuEventCreate(CUevent *event, unsigned int flags) {
  RETURN_IF_ERROR(ready());
  NEED(event && flags <= 3);
  *event = new CUevent_st;
  (*event)->flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event) {
  RETURN_IF_ERROR(ready());
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  delete event;
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream handle) {
  RETURN_IF_ERROR(ready());
  if (!event || !isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  CUstream_st *stream = streamOf(handle);
  if (stream->capture) {
    event->captured = stream->capture;
    event->capturedAfter = stream->captureAfter;
    event->recorded = nullptr;
    return CUDA_SUCCESS;
  }
  event->captured = nullptr;
  return enqueue(
      handle, [] { return CUDA_SUCCESS; }, &event->recorded);
}

CUresult cuEventSynchronize(CUevent event) {
  RETURN_IF_ERROR(ready());
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  if (event->captured)
    return CUDA_ERROR_CAPTURED_EVENT;
  if (event->recorded)
    event->recorded->wait();
  return Driver::get().sticky;
}

CUresult cuEventQuery(CUevent event) {
  RETURN_IF_ERROR(ready());
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  if (event->captured)
    return CUDA_ERROR_CAPTURED_EVENT;
  return event->recorded && !event->recorded->isDone() ? CUDA_ERROR_NOT_READY : Driver::get().sticky.load();
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end) {
  RETURN_IF_ERROR(ready());
  NEED(milliseconds);
  if (!start || !end || !start->recorded || !end->recorded || ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
    return CUDA_ERROR_INVALID_HANDLE;
  if (!start->recorded->isDone() || !end->recorded->isDone())
    return CUDA_ERROR_NOT_READY;
  *milliseconds = std::chrono::duration<float, std::milli>(end->recorded->finished - start->recorded->finished).count();
  return CUDA_SUCCESS;
}
extern "C" __attribute__((visibility("default"))) CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start,
                                                                                 CUevent end) {
  return cuEventElapsedTime(milliseconds, start, end);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned int flags) {
  RETURN_IF_ERROR(ready());
  if (!event || !isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  NEED(!flags);
  CUstream_st *stream = streamOf(handle);
  if (event->captured) {
    if (stream->isLegacy)
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    if (stream->capture && stream->capture != event->captured)
      return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    stream->capture = event->captured; // joins the capture
    for (CUgraphNode node : event->capturedAfter)
      if (std::find(stream->captureAfter.begin(), stream->captureAfter.end(), node) == stream->captureAfter.end())
        stream->captureAfter.push_back(node);
    return CUDA_SUCCESS;
  }
  if (stream->capture)
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  if (!event->recorded)
    return CUDA_SUCCESS;
  return enqueue(handle, [before = event->recorded] {
    before->wait();
    return CUDA_SUCCESS;
  });
}

// --- capture ---

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  RETURN_IF_ERROR(ready());
  if (!isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  NEED(mode <= CU_STREAM_CAPTURE_MODE_RELAXED);
  CUstream_st *stream = streamOf(handle);
  if (stream->isLegacy)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture)
    return CUDA_ERROR_ILLEGAL_STATE;
  stream->capture = new CUgraph_st;
  stream->isCaptureOrigin = true;
  stream->captureInvalid = false;
  stream->captureAfter.clear();
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph) {
  RETURN_IF_ERROR(ready());
  NEED(graph);
  if (!isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  *graph = nullptr;
  CUstream_st *stream = streamOf(handle);
  if (!stream->capture)
    return CUDA_ERROR_ILLEGAL_STATE;
  if (!stream->isCaptureOrigin)
    return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  CUgraph made = stream->capture;
  bool invalid = stream->captureInvalid, unjoined = false;
  // Everything must lead to what this stream did last.
  std::set<CUgraphNode> joined;
  std::vector<CUgraphNode> stack = stream->captureAfter;
  while (!stack.empty()) {
    CUgraphNode node = stack.back();
    stack.pop_back();
    if (joined.insert(node).second)
      stack.insert(stack.end(), node->after.begin(), node->after.end());
  }
  unjoined = joined.size() != made->nodes.size();
  Driver &d = Driver::get();
  {
    std::lock_guard lock(d.mutex);
    for (auto &s : d.streams)
      if (s->capture == made) {
        invalid |= s->captureInvalid;
        s->capture = nullptr;
        s->isCaptureOrigin = s->captureInvalid = false;
        s->captureAfter.clear();
      }
  }
  if (invalid || unjoined) {
    delete made;
    return invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  }
  *graph = made;
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status) {
  RETURN_IF_ERROR(ready());
  NEED(status);
  if (!isStream(handle))
    return CUDA_ERROR_INVALID_HANDLE;
  const CUstream_st *stream = streamOf(handle);
  *status = !stream->capture         ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream->captureInvalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                     : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}
