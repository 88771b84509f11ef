// Atoms at the same place, at which no descriptor has a derivative. Used by both shared objects.

#ifndef FITSNAP_NN_CONTACTS_H
#define FITSNAP_NN_CONTACTS_H

#include "atom.h"
#include "lammps.h"
#include "update.h"

#include <cmath>
#include <sstream>
#include <string>

namespace fitsnap_nn {

// In LAMMPS' unit of length; the same as MIN_DISTANCE in data/configuration.py, which states the reason.
constexpr double MIN_DISTANCE = 1e-6;

// Whether atoms are apart, given the square of their distance. False for NaN.
inline bool are_apart(double distance_squared) {
  return distance_squared >= MIN_DISTANCE * MIN_DISTANCE;
}

// Error message for two atoms that are not, given their LAMMPS indices.
inline std::string contact_message(const LAMMPS_NS::LAMMPS &lmp, int i, int j, double distance_squared) {
  const LAMMPS_NS::tagint *tag = lmp.atom->tag;
  std::ostringstream text;
  if (std::isnan(distance_squared))
    text << "the distance between atoms " << tag[i] << " and " << tag[j] << " is not a number";
  else if (tag[i] == tag[j] && tag[i])
    text << "atom " << tag[i] << " is at the place of its periodic image";
  else
    text << "atoms " << tag[i] << " and " << tag[j] << " are at the same place";
  if (!std::isnan(distance_squared))
    text << ", " << std::sqrt(distance_squared) << " apart";
  text << ", at step " << lmp.update->ntimestep << ". Forces are not defined there: correct the structure, or remove "
       << "one of the atoms with delete_atoms overlap";
  return text.str();
}

}    // namespace fitsnap_nn

#endif
