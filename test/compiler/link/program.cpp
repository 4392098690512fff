//===- program.cpp - uses exceptions, threads, thread-local data, streams, IFUNCs, initialisers -===//

#include <cmath>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

extern "C" int kernel(int);

static std::string initialised = std::string("init") + "ialised";
static thread_local int mine = 1;

static int thrown(int x) {
  try {
    if (x > 0)
      throw std::runtime_error(std::to_string(kernel(x)));
  } catch (const std::exception &error) {
    return std::stoi(error.what());
  }
  return 0;
}

int main(int argc, char **) {
  std::vector<std::thread> threads;
  std::vector<int> results(4);
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&results, i] {
      mine += i;
      results[i] = 10 * mine + thrown(i);
    });
  for (std::thread &thread : threads)
    thread.join();
  for (int result : results)
    std::cout << result << ' ';
  std::cout << mine << " " << initialised << " " << std::lround(std::exp(double(argc))) << std::endl;
  return 0;
}
