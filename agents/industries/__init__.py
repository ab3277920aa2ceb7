"""What companies do: families of industry words."""
