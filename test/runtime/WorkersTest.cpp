//===- WorkersTest.cpp - every unit once, every barrier for all --------------------------===//

#include "runtime/Workers.h"
#include "runtime/ThreadCount.h"
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace sluice::runtime;

TEST(Workers, ComputeEveryUnitExactlyOnce) {
  for (unsigned threads : {1u, 2u, 3u, 4u, 7u, 16u}) {
    Workers team(threads);
    for (uint64_t units : {0, 1, 2, 3, 5, 16, 17, 100, 1537})
      for (bool singly : {false, true}) {
        std::vector<std::atomic<int>> done(units);
        team.run([&](unsigned worker) {
          team.share(worker, units, singly, [&](uint64_t begin, uint64_t end) {
            ASSERT_LT(begin, end);
            for (uint64_t unit = begin; unit < end; ++unit)
              ++done.at(unit);
          });
        });
        for (uint64_t unit = 0; unit < units; ++unit)
          ASSERT_EQ(done[unit], 1) << threads << " threads, " << units << " units, unit " << unit;
      }
  }
}

TEST(Workers, CallEveryWorker) {
  Workers team(5);
  std::vector<std::atomic<int>> calls(5);
  for (int i = 0; i < 100; ++i)
    team.run([&](unsigned worker) { ++calls.at(worker); });
  for (auto &each : calls)
    EXPECT_EQ(each, 100);
}

// Each step reads what all workers wrote in the one before: a barrier that lets one through early shows.
static void checkBarriers(unsigned threads, int steps) {
  Workers team(threads);
  std::vector<std::vector<int>> cells(2, std::vector<int>(64 * threads, 0)); // a cache line a worker
  std::atomic<int> wrong{0};
  team.run([&](unsigned worker) {
    for (int step = 1; step <= steps; ++step) {
      for (unsigned other = 0; other < threads; ++other)
        wrong += cells[(step + 1) % 2][64 * other] != step - 1;
      cells[step % 2][64 * worker] = step;
      team.barrier();
      // All have read the old cells before anyone writes them again two steps on.
    }
  });
  EXPECT_EQ(wrong, 0) << threads << " threads";
}

TEST(Workers, MeetAtBarriers) {
  for (unsigned threads : {1u, 2u, 3u})
    checkBarriers(threads, 20000 / int(threads));
}

TEST(Workers, MeetAtBarriersWithFarMoreThreadsThanProcessors) { checkBarriers(32, 300); }

TEST(Workers, ShareUnitsAfterEveryBarrierAnew) {
  Workers team(4);
  std::atomic<uint64_t> sum{0};
  team.run([&](unsigned worker) {
    for (int step = 0; step < 500; ++step) {
      team.share(worker, 13, step % 2, [&](uint64_t begin, uint64_t end) {
        for (uint64_t unit = begin; unit < end; ++unit)
          sum += unit;
      });
      team.barrier();
    }
  });
  EXPECT_EQ(sum, 500u * 78);
}

namespace {
// A folder that stands for the root of a file system.
class FakeRoot {
public:
  FakeRoot() : root(testing::TempDir() + "sluice-root-" + std::to_string(getpid())) {
    std::filesystem::remove_all(root);
  }
  ~FakeRoot() { std::filesystem::remove_all(root); }
  void write(const std::string &path, const std::string &text) {
    std::filesystem::path file = root + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  const std::string root;
};
} // namespace

TEST(ThreadCount, CountsSiblingsOnce) {
  FakeRoot fake;
  for (int cpu = 0; cpu < 4; ++cpu)
    fake.write("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
               cpu % 2 ? "1,3\n" : "0,2\n");
  EXPECT_EQ(physicalCores({0, 1, 2, 3}, fake.root), 2u);
  EXPECT_EQ(physicalCores({0, 2}, fake.root), 1u);
  EXPECT_EQ(physicalCores({0, 7, 8}, fake.root), 3u); // no topology for 7 and 8: taken for cores
}

TEST(ThreadCount, ObeysControlGroupsVersion2) {
  FakeRoot fake;
  EXPECT_EQ(quotaProcessors(8, fake.root), 8u);
  fake.write("/proc/self/cgroup", "0::/a/b\n");
  fake.write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(quotaProcessors(8, fake.root), 8u);
  fake.write("/sys/fs/cgroup/a/cpu.max", "350000 100000\n");
  EXPECT_EQ(quotaProcessors(8, fake.root), 3u);
  fake.write("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(quotaProcessors(8, fake.root), 1u);
}

TEST(ThreadCount, ObeysControlGroupsVersion1) {
  FakeRoot fake;
  fake.write("/proc/self/cgroup", "7:memory:/x\n4:cpu,cpuacct:/docker/1234\n");
  fake.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n"); // inside a container: the root is its own
  fake.write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quotaProcessors(8, fake.root), 2u);
  fake.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(quotaProcessors(8, fake.root), 8u);
}

TEST(ThreadCount, IsAtLeastOne) {
  EXPECT_GE(defaultThreadCount(), 1u);
  EXPECT_LE(defaultThreadCount(), allowedProcessors().size());
}
