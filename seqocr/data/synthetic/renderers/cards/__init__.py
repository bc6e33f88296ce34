"""Digits in relief: bank cards, plates."""
