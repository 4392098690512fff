//===- DriverGraph.cpp - graphs
//-------------------------------------------------------------------------------------===//
//
// A graph is executed node by node in an order that its dependencies allow.

#include "tools/ptx-vm/Driver.h"
#include <algorithm>

using namespace ptxvm;

#define RETURN_IF_ERROR(call)                                                                                          \
  if (CUresult result = (call); result != CUDA_SUCCESS)                                                                \
  return result
#define NEED(pointer)                                                                                                  \
  if (!(pointer))                                                                                                      \
  return CUDA_ERROR_INVALID_VALUE

namespace {

CUresult addNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                 std::unique_ptr<CUgraphNode_st> made) {
  made->graph = graph;
  for (size_t i = 0; i < count; ++i) {
    if (!dependencies[i] || dependencies[i]->graph != graph)
      return CUDA_ERROR_INVALID_VALUE;
    if (std::find(made->after.begin(), made->after.end(), dependencies[i]) != made->after.end())
      return CUDA_ERROR_INVALID_VALUE;
    made->after.push_back(dependencies[i]);
  }
  *node = made.get();
  graph->nodes.push_back(std::move(made));
  return CUDA_SUCCESS;
}

CUresult fillKernel(const CUDA_KERNEL_NODE_PARAMS_v2 &p, CUfunction &function, LaunchConfig &launch) {
  function = p.func ? p.func : reinterpret_cast<CUfunction>(p.kern);
  return makeLaunch(function, {p.gridDimX, p.gridDimY, p.gridDimZ}, {p.blockDimX, p.blockDimY, p.blockDimZ},
                    p.sharedMemBytes, p.kernelParams, p.extra, launch);
}

/// Nodes so that each comes after those that it depends on. They are added after these already, except for captured
/// ones: the same.
std::vector<CUgraphExec_st::Step> stepsOf(CUgraph graph) {
  std::vector<CUgraphExec_st::Step> steps;
  for (auto &node : graph->nodes)
    steps.push_back({node.get(), node->kind, node->launch, node->run});
  return steps;
}

} // namespace

namespace ptxvm {
CUresult runNode(CUgraphNode_st::Kind kind, const LaunchConfig &launch, const std::function<CUresult()> &run) {
  return kind == CUgraphNode_st::Kernel ? runLaunch(launch, *Driver::get().memory) : run ? run() : CUDA_SUCCESS;
}
} // namespace ptxvm

CUresult cuGraphCreate(CUgraph *graph, unsigned int flags) {
  RETURN_IF_ERROR(ready());
  NEED(graph && !flags);
  *graph = new CUgraph_st;
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  RETURN_IF_ERROR(ready());
  NEED(graph);
  delete graph;
  return CUDA_SUCCESS;
}

CUresult cuGraphAddKernelNode_v2(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                                 const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
  RETURN_IF_ERROR(ready());
  NEED(node && graph && params && (!count || dependencies));
  auto made = std::make_unique<CUgraphNode_st>();
  made->kind = CUgraphNode_st::Kernel;
  RETURN_IF_ERROR(fillKernel(*params, made->function, made->launch));
  return addNode(node, graph, dependencies, count, std::move(made));
}

CUresult cuGraphAddMemsetNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count,
                              const CUDA_MEMSET_NODE_PARAMS_v1 *params, CUcontext context) {
  RETURN_IF_ERROR(ready());
  NEED(node && graph && params && (!count || dependencies));
  if (context != &Driver::get().context)
    return CUDA_ERROR_INVALID_CONTEXT;
  const CUDA_MEMSET_NODE_PARAMS_v1 p = *params;
  NEED((p.elementSize == 1 || p.elementSize == 2 || p.elementSize == 4) && p.width && p.height);
  NEED(p.height == 1 || p.pitch >= p.width * p.elementSize);
  const size_t pitch = p.height == 1 ? 0 : p.pitch;
  if (p.dst % p.elementSize || !Driver::get().memory->covers(p.dst, pitch * (p.height - 1) + p.width * p.elementSize))
    return CUDA_ERROR_INVALID_VALUE;
  auto made = std::make_unique<CUgraphNode_st>();
  made->run = [p, pitch] {
    for (size_t row = 0; row < p.height; ++row) {
      uint8_t *to = reinterpret_cast<uint8_t *>(p.dst) + row * pitch;
      for (size_t i = 0; i < p.width; ++i)
        __builtin_memcpy(to + i * p.elementSize, &p.value, p.elementSize);
    }
    return CUDA_SUCCESS;
  };
  return addNode(node, graph, dependencies, count, std::move(made));
}

CUresult cuGraphAddEmptyNode(CUgraphNode *node, CUgraph graph, const CUgraphNode *dependencies, size_t count) {
  RETURN_IF_ERROR(ready());
  NEED(node && graph && (!count || dependencies));
  return addNode(node, graph, dependencies, count, std::make_unique<CUgraphNode_st>());
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v2 *params) {
  RETURN_IF_ERROR(ready());
  NEED(node && params && node->kind == CUgraphNode_st::Kernel);
  const LaunchConfig &l = node->launch;
  node->parameterPointers.clear();
  for (const Variable &v : l.kernel->function.parameters)
    node->parameterPointers.push_back(node->launch.parameters.data() + v.offset);
  *params = {node->function, l.grid.x,        l.grid.y,
             l.grid.z,       l.block.x,       l.block.y,
             l.block.z,      l.dynamicShared, node->parameterPointers.data(),
             nullptr,        nullptr,         &Driver::get().context};
  return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
  RETURN_IF_ERROR(ready());
  NEED(node && params && node->kind == CUgraphNode_st::Kernel);
  LaunchConfig launch;
  launch.isCooperative = node->launch.isCooperative;
  CUfunction function;
  RETURN_IF_ERROR(fillKernel(*params, function, launch));
  node->launch = std::move(launch);
  node->function = function;
  return CUDA_SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
  RETURN_IF_ERROR(ready());
  NEED(graph && count);
  if (nodes)
    for (size_t i = 0; i < *count; ++i)
      nodes[i] = i < graph->nodes.size() ? graph->nodes[i].get() : nullptr;
  *count = nodes ? std::min(*count, graph->nodes.size()) : graph->nodes.size();
  return CUDA_SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
  RETURN_IF_ERROR(ready());
  NEED(exec && graph);
  if (flags & ~uint64_t(1))
    return CUDA_ERROR_NOT_SUPPORTED;
  *exec = new CUgraphExec_st{stepsOf(graph)};
  return CUDA_SUCCESS;
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS_v2 *params) {
  RETURN_IF_ERROR(ready());
  NEED(exec && node && params);
  for (CUgraphExec_st::Step &step : exec->steps) {
    if (step.origin != node)
      continue;
    NEED(step.kind == CUgraphNode_st::Kernel);
    LaunchConfig launch;
    launch.isCooperative = step.launch.isCooperative;
    CUfunction function;
    RETURN_IF_ERROR(fillKernel(*params, function, launch));
    step.launch = std::move(launch);
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo_v1 *info) {
  RETURN_IF_ERROR(ready());
  NEED(exec && graph && info);
  *info = {CU_GRAPH_EXEC_UPDATE_SUCCESS, nullptr, nullptr};
  auto steps = stepsOf(graph);
  if (steps.size() != exec->steps.size())
    info->result = CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
  for (size_t i = 0; i < steps.size() && info->result == CU_GRAPH_EXEC_UPDATE_SUCCESS; ++i)
    if (steps[i].kind != exec->steps[i].kind) {
      info->result = CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
      info->errorNode = const_cast<CUgraphNode>(steps[i].origin);
    }
  if (info->result != CU_GRAPH_EXEC_UPDATE_SUCCESS)
    return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  for (size_t i = 0; i < steps.size(); ++i)
    steps[i].origin = exec->steps[i].origin;
  exec->steps = std::move(steps);
  return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream) {
  RETURN_IF_ERROR(ready());
  NEED(exec);
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  RETURN_IF_ERROR(ready());
  NEED(exec);
  // What it is now: later changes of the executable graph are for later launches.
  auto steps = std::make_shared<std::vector<CUgraphExec_st::Step>>(exec->steps);
  return enqueue(stream, [steps] {
    for (const CUgraphExec_st::Step &step : *steps)
      RETURN_IF_ERROR(runNode(step.kind, step.launch, step.run));
    return CUDA_SUCCESS;
  });
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  RETURN_IF_ERROR(ready());
  NEED(exec);
  delete exec;
  return CUDA_SUCCESS;
}
