//! [`PerParameter`]: a value for each parameter of a layer.

use super::Parameter;
use std::ops::{Index, IndexMut};

/// A value for each parameter that one layer and direction has: weights, gradients, shapes.
///
/// Indexing by [`Parameter`] is for parameters that every cell has, such as `weight_ih` and `weight_hh`. Like
/// a map's, it panics where the parameter is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerParameter<T>([Option<T>; Parameter::ALL.len()]);

impl<T> Default for PerParameter<T> {
    fn default() -> Self {
        PerParameter([const { None }; Parameter::ALL.len()])
    }
}

impl<T> PerParameter<T> {
    /// The values of the two matrices that every cell has.
    pub fn new(weight_ih: T, weight_hh: T) -> Self {
        let mut all = Self::default();
        all.set(Parameter::WeightIh, weight_ih);
        all.set(Parameter::WeightHh, weight_hh);
        all
    }

    /// One value, if present.
    pub fn get(&self, parameter: Parameter) -> Option<&T> {
        self.0[parameter as usize].as_ref()
    }

    /// One value, if present, mutable.
    pub fn get_mut(&mut self, parameter: Parameter) -> Option<&mut T> {
        self.0[parameter as usize].as_mut()
    }

    /// Several values, each if present, mutable. The parameters must differ.
    pub fn get_disjoint_mut<const N: usize>(&mut self, parameters: [Parameter; N]) -> [Option<&mut T>; N] {
        let mut found = [const { None }; N];
        for (value, parameter) in self.0.iter_mut().zip(Parameter::ALL) {
            if let Some(place) = parameters.iter().position(|&wanted| wanted == parameter) {
                found[place] = value.as_mut();
            }
        }
        found
    }

    /// Adds or replaces one value.
    pub fn set(&mut self, parameter: Parameter, value: T) {
        self.0[parameter as usize] = Some(value);
    }

    /// Removes one value and returns it, if present.
    pub fn take(&mut self, parameter: Parameter) -> Option<T> {
        self.0[parameter as usize].take()
    }

    /// The present values, in the order of [`Parameter::ALL`].
    pub fn all(&self) -> impl Iterator<Item = (Parameter, &T)> {
        Parameter::ALL
            .into_iter()
            .zip(&self.0)
            .filter_map(|(parameter, value)| Some((parameter, value.as_ref()?)))
    }

    /// Applies `of` to each value.
    pub fn map<U>(self, mut of: impl FnMut(T) -> U) -> PerParameter<U> {
        PerParameter(self.0.map(|value| value.map(&mut of)))
    }

    /// References to the values.
    pub fn as_ref(&self) -> PerParameter<&T> {
        PerParameter(self.0.each_ref().map(Option::as_ref))
    }
}

impl<T> FromIterator<(Parameter, T)> for PerParameter<T> {
    fn from_iter<I: IntoIterator<Item = (Parameter, T)>>(values: I) -> Self {
        let mut all = Self::default();
        values.into_iter().for_each(|(parameter, value)| all.set(parameter, value));
        all
    }
}

impl<T> Index<Parameter> for PerParameter<T> {
    type Output = T;

    fn index(&self, parameter: Parameter) -> &T {
        match self.get(parameter) {
            Some(value) => value,
            None => panic!("there is no {}", parameter.name()),
        }
    }
}

impl<T> IndexMut<Parameter> for PerParameter<T> {
    fn index_mut(&mut self, parameter: Parameter) -> &mut T {
        match self.get_mut(parameter) {
            Some(value) => value,
            None => panic!("there is no {}", parameter.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_list_of_all_parameters() {
        for (place, parameter) in Parameter::ALL.into_iter().enumerate() {
            assert_eq!(parameter as usize, place);
        }
    }

    #[test]
    fn values_are_found_where_they_were_put() {
        let mut all = PerParameter::new(1, 2);
        all.set(Parameter::NormC, 9);
        assert_eq!(all.all().map(|(_, &value)| value).collect::<Vec<_>>(), [1, 2, 9]);
        let [c, bias, hh] = all.get_disjoint_mut([Parameter::NormC, Parameter::BiasIh, Parameter::WeightHh]);
        assert_eq!((c.copied(), bias.copied(), hh.copied()), (Some(9), None, Some(2)));
        assert_eq!(all.map(|value| value * 10)[Parameter::NormC], 90);
    }
}
